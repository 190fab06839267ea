"""The pages for new contributors match the source tree."""

import re

import pytest

from tests.conftest import ROOT

LINK = re.compile(r"\[[^\]]+\]\(([^)#:]+)\)")
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PACKAGES = {
    path.parent.relative_to(ROOT).as_posix()
    for top in ("provisioner", "csi")
    for path in (ROOT / top).glob("*/__init__.py")
}


def test_the_architecture_page_has_every_package() -> None:
    """Each package below `provisioner` and `csi` has an entry."""
    linked = {target.removeprefix("../") for target in LINK.findall(ARCHITECTURE.read_text(encoding="utf-8"))}

    assert PACKAGES - linked == set()


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "docs/glossary.md"])
def test_a_link_text_that_is_a_path_is_the_path_it_leads_to(page: str) -> None:
    """A reader who types the path finds the same file as one who follows the link."""
    text = (ROOT / page).read_text(encoding="utf-8")
    pairs = re.findall(r"\[((?:provisioner|csi|docs|tests|proto)/[^\]]+)\]\(([^)#:]+)\)", text)

    for name, target in pairs:
        path = ((ROOT / page).parent / target).resolve()
        assert path.exists()
        assert path == (ROOT / name.replace("\\", "")).resolve()


def test_unit_tests_are_where_their_sources_are() -> None:
    """`tests/unit/provisioner/x` and `tests/unit/csi/x` test the packages of the same path."""
    folders = {
        path.parent.relative_to(ROOT / "tests" / "unit")
        for top in ("provisioner", "csi")
        for path in (ROOT / "tests" / "unit" / top).rglob("*.py")
    }

    assert {folder.as_posix() for folder in folders if not (ROOT / folder).is_dir()} == set()
