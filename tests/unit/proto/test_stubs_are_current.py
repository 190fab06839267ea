"""The committed stubs are equal to the generator's output for proto/."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.process


def generate(out: Path, *, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Generate the stubs of a checkout into a directory, with the generators of the Python that runs the tests."""
    return subprocess.run(
        [str(root / "hack" / "gen-proto.sh"), str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
        check=False,
    )


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    """Stubs are not edited by hand, and are generated again after each change of a proto file."""
    done = generate(tmp_path)
    assert done.returncode == 0, done.stderr

    generated = {path.name for path in (tmp_path / "csi" / "v1").iterdir()}
    committed = {path.name for path in (ROOT / "csi" / "v1").iterdir() if path.suffix in {".py", ".pyi"}}
    assert committed - {"__init__.py"} == generated
    different = [
        name
        for name in sorted(generated)
        if not filecmp.cmp(tmp_path / "csi/v1" / name, ROOT / "csi/v1" / name, shallow=False)
    ]
    assert different == [], "run hack/gen-proto.sh and commit its output"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the generators' inputs, which a test may change."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "proto", copy / "proto")
    (copy / "hack").mkdir()
    for name in ("gen-proto.sh", "constraints.txt"):
        shutil.copy(ROOT / "hack" / name, copy / "hack" / name)
    (copy / "out").mkdir()
    return copy


def test_the_comparison_detects_a_changed_proto_file(checkout: Path) -> None:
    """Even a changed comment changes the stubs, so a proto file cannot change without them."""
    proto = checkout / "proto" / "csi" / "v1" / "registration.proto"
    proto.write_text(proto.read_text(encoding="utf-8").replace("// Report the result", "// Another comment"))

    assert generate(checkout / "out", root=checkout).returncode == 0
    name = "csi/v1/registration_pb2_grpc.pyi"
    assert not filecmp.cmp(checkout / "out" / name, ROOT / name, shallow=False)


@pytest.mark.parametrize("package", ["grpcio-tools", "mypy-protobuf"])
def test_another_generator_version_is_refused_with_both_versions_named(checkout: Path, package: str) -> None:
    """Another version generates different bytes, which would look like a change of the proto files."""
    constraints = checkout / "hack" / "constraints.txt"
    lines = constraints.read_text(encoding="utf-8").splitlines()
    installed = next(line.removeprefix(f"{package}==") for line in lines if line.startswith(f"{package}=="))
    constraints.write_text(
        "\n".join(f"{package}==0.0.1" if line.startswith(f"{package}==") else line for line in lines) + "\n"
    )

    done = generate(checkout / "out", root=checkout)

    assert done.returncode == 1
    assert f"made by {package} 0.0.1, but {sys.executable} has {installed}" in done.stderr
    assert list((checkout / "out").iterdir()) == []
