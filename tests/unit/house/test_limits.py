"""docs/limits.md tells what Mooring cannot do, and each entry is shown by a test."""

import re
from collections import Counter

from tests.conftest import ROOT

ENTRY = re.compile(r"^## `([a-z0-9-]+)`: \S", re.MULTILINE)
SHOWN = re.compile(r"pytest\.mark\.limit\(\"([a-z0-9-]+)\"\)")


def _entries() -> list[str]:
    return ENTRY.findall((ROOT / "docs" / "limits.md").read_text(encoding="utf-8"))


def _shown() -> set[str]:
    return {
        found
        for path in (ROOT / "tests").rglob("test_*.py")
        for found in SHOWN.findall(path.read_text(encoding="utf-8"))
    }


def test_every_limit_has_an_id_of_its_own() -> None:
    """Each headed entry of the page carries an id, and no two carry the same."""
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")

    assert len(re.findall(r"^## ", page, re.MULTILINE)) == len(_entries()) > 0
    assert [] == [name for name, times in Counter(_entries()).items() if times > 1]


def test_every_limit_is_shown_by_a_test_and_every_such_test_names_one() -> None:
    """A limit without a test may be untrue, and a test for a limit that is not written down hides it."""
    assert set(_entries()) == _shown()
