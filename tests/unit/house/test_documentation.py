"""The documentation has what users configure and see."""

import re

import yaml

from provisioner.binding.decision import MESSAGES
from provisioner.embedded.bootstrap import shipped_classes
from provisioner.model.storage_class import CHOICES, KEYS
from tests.conftest import ROOT


def _page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_class_and_parameter_is_in_the_readme() -> None:
    """The README has all valid values, too."""
    readme = _page("README.md")

    missing = [each["metadata"]["name"] for each in shipped_classes() if f"`{each['metadata']['name']}`" not in readme]
    missing += [key for key in KEYS if f"`{key}`" not in readme]
    assert missing == []
    for key in ("backend", "provisioning", "adopt", "onNodeLoss"):
        assert all(f"`{value}`" in readme for value in CHOICES[key])


def test_links_between_pages_are_valid() -> None:
    """The target of each relative link exists."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    broken = [
        (page.name, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []


def test_the_commands_of_the_readme_name_files_that_exist() -> None:
    """A new user can copy these commands."""
    for file in re.findall(r"examples/[\w.-]+", _page("README.md")):
        assert list(yaml.safe_load_all(_page(file)))


def test_every_reason_code_is_lower_case_words_with_dashes() -> None:
    """Codes are part of `mooring explain -o json`, so scripts rely on them."""
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in MESSAGES)
