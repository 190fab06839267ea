"""The help of the Makefile."""

import re
import subprocess

from tests.conftest import ROOT


def test_help_lists_every_target_with_its_description() -> None:
    """`make help` lists each public target with a description."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))

    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    shown = dict(line.split(None, 1) for line in listed.splitlines())
    assert declared == shown.keys()
    assert all(shown.values())
