#!/usr/bin/env bash
# Make the stubs in csi/v1 from proto/, or below the directory given as the only argument.
#
# The stubs are committed, and every byte of them depends on the generators, so these have to be the versions that
# hack/constraints.txt pins. To go to another version: pin it there, install it, run this, commit all of it together.
# PYTHON names the interpreter that has them; else it is the one in .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.}
fail() { printf 'gen-proto: %s\n' "$*" >&2; exit 1; }

python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || fail "there is no $python; run 'make setup', or set PYTHON"
[ -d "$out" ] || fail "$out is not a directory"

for package in grpcio-tools mypy-protobuf; do
    pinned=$(sed -n "s/^$package==//p" hack/constraints.txt)
    found=$("$python" -c 'import sys; from importlib.metadata import version; print(version(sys.argv[1]))' \
        "$package" 2>/dev/null) || found=none
    [ "$found" = "$pinned" ] || fail "the stubs are made by $package $pinned, but $python has $found;" \
        "install the pinned one: $python -m pip install $package==$pinned"
done

# The plugins are programs beside the interpreter; protoc looks for them on PATH.
beside=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
PATH="$beside:$PATH" "$python" -m grpc_tools.protoc --proto_path=proto \
    --python_out="$out" --grpc_python_out="$out" --mypy_out="quiet:$out" --mypy_grpc_out="quiet:$out" \
    csi/v1/csi.proto csi/v1/inventory.proto csi/v1/registration.proto
