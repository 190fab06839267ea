"""Limits of a YAML document, which are checked before objects are built."""

import itertools
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model.yaml_limits import LOADER, REQUEST, Limits, TooCostlyError, check


def _laughs(levels: int, line: str = "{0}: &{0} [{1}]") -> str:
    """Return a document in which each level repeats the previous one nine times."""
    names = "abcdefghij"[: levels + 1]
    lines = [f"a: &a [{','.join(['lol'] * 9)}]"]
    lines += [line.format(one, ",".join([f"*{previous}"] * 9)) for previous, one in itertools.pairwise(names)]
    return "\n".join(lines)


COSTLY = {
    "laughs": _laughs(9),
    "laughs of merges": "a: &a {x: 1}\n" + _laughs(8, "{0}: &{0} {{<<: [{1}]}}").split("\n", 1)[1],
    "laughs of text": f"a: &a {'x' * 9000}\nb: [{','.join(['*a'] * 900)}]",
    "laughs of keys": f"a: &a [{'x,' * 900}]\n" + "\n".join(f"? [*a, {n}]\n: 1" for n in range(100)),
    "in itself": "a: &a [*a]",
    "in itself further down": "a: &a {b: {c: [*a]}}",
    "many values": "[" + "1," * 60_000 + "]",
    "deep": "[" * 5000 + "]" * 5000,
    "a number of base 60": "a: 1" + ":1" * 100_000,
    "a tagged number of base 60": "a: !!int '1" + ":1" * 100_000 + "'",
    "a tagged number with spaces": "a: !!int '1" + ": 1 " * 100_000 + "'",
    "a number by another tag of the same meaning": "%TAG !e! tag:yaml.org,2002:\n---\na: !e!float '1"
    + ":1" * 9000
    + "'",
    "many documents": "---\n" * 600_000,
    "a long number": "a: " + "9" * 5000,
    "much text": "a: " + "b" * (4 << 20),
}


@pytest.mark.bound("yaml-nodes", "yaml-depth", "yaml-number-characters")
@pytest.mark.parametrize("what", COSTLY)
def test_a_document_over_a_limit_is_refused_within_seconds(what: str) -> None:
    """The check takes less than five seconds, since it builds no objects."""
    started = time.monotonic()
    with pytest.raises(TooCostlyError):
        check(COSTLY[what], REQUEST)
    assert time.monotonic() - started < 5  # seconds; without the limits it takes minutes, or all memory


def test_an_anchor_counts_once_for_each_use_and_only_in_its_document() -> None:
    """Aliases are accepted within the limits."""
    check("a: &a {b: c}\nd: [*a, *a]\n---\na: &a 1\nb: *a\n", Limits(nodes=14, characters=20))
    with pytest.raises(TooCostlyError):
        check("a: &a {b: c}\nd: [*a, *a]\n", Limits(nodes=12, characters=20))


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_a_document_within_the_limits_is_read_unchanged(value: object) -> None:
    """The check does not change the document."""
    text = yaml.safe_dump(value)
    check(text, REQUEST)
    assert yaml.load(text, Loader=LOADER) == value  # noqa: S506 # LOADER is a safe loader
