"""The committed stubs are what the generator makes of proto/ today."""

import filecmp
import subprocess
from importlib.metadata import version
from pathlib import Path

from tests.conftest import ROOT

GENERATOR = {"grpcio-tools": "1.85.1", "mypy-protobuf": "5.1.0"}


def test_the_generator_is_the_one_that_made_the_stubs() -> None:
    """Another generator writes other bytes, so its version is pinned; this tells a pin from a real drift."""
    assert {name: version(name) for name in GENERATOR} == GENERATOR


def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    """Nobody edits a stub by hand, and nobody edits a proto file without making the stubs anew."""
    subprocess.run([str(ROOT / "hack" / "gen-proto.sh"), str(tmp_path)], check=True, capture_output=True)

    made = {path.name for path in (tmp_path / "csi" / "v1").iterdir()}
    committed = {path.name for path in (ROOT / "csi" / "v1").iterdir() if path.suffix in {".py", ".pyi"}}
    assert committed - {"__init__.py"} == made
    different = [
        name
        for name in sorted(made)
        if not filecmp.cmp(tmp_path / "csi/v1" / name, ROOT / "csi/v1" / name, shallow=False)
    ]
    assert different == []
