#!/usr/bin/env bash
# Make the stubs in csi/v1 from proto/, or in the directory given as the only argument.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.}
export PATH="$PWD/.venv/bin:$PATH"
python -m grpc_tools.protoc --proto_path=proto --python_out="$out" --grpc_python_out="$out" \
    --mypy_out="quiet:$out" --mypy_grpc_out="quiet:$out" \
    csi/v1/csi.proto csi/v1/inventory.proto csi/v1/registration.proto
