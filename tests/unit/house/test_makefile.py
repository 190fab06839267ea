"""The Makefile's promises to a newcomer."""

import re
import subprocess

from tests.conftest import ROOT


def test_help_lists_every_target_with_its_sentence() -> None:
    """`make help` names each target that can be typed, and says what it does."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE))

    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    shown = dict(line.split(None, 1) for line in listed.splitlines())
    assert declared == shown.keys()
    assert all(shown.values())
