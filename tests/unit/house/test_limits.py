"""Each entry of docs/limits.md, which lists what Mooring cannot do, has a test."""

import re
from collections import Counter

from tests.conftest import ROOT

ENTRY = re.compile(r"^## `([a-z0-9-]+)`: \S", re.MULTILINE)
DEMONSTRATED = re.compile(r"pytest\.mark\.limit\(\"([a-z0-9-]+)\"\)")


def _entries() -> list[str]:
    return ENTRY.findall((ROOT / "docs" / "limits.md").read_text(encoding="utf-8"))


def _demonstrated() -> set[str]:
    return {
        found
        for path in (ROOT / "tests").rglob("test_*.py")
        for found in DEMONSTRATED.findall(path.read_text(encoding="utf-8"))
    }


def test_every_limit_has_a_unique_id() -> None:
    """Each entry of the page has an id, and no two have the same."""
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")

    assert len(re.findall(r"^## ", page, re.MULTILINE)) == len(_entries()) > 0
    assert [] == [name for name, times in Counter(_entries()).items() if times > 1]


def test_every_limit_has_a_test_and_every_such_test_names_a_limit() -> None:
    """A limit without a test may be untrue, and a test for an undocumented limit hides it."""
    assert set(_entries()) == _demonstrated()
