"""A selector reads no more volumes than necessary: the index has to be fast as well as correct."""

from typing import Any

import pytest

from provisioner.binding.matching.label_index import Entry, LabelIndex
from provisioner.model.selector import LabelSelector
from tests.unit.provisioner.binding.objects import claim, volume

LABELS = ({"a": "1", "b": "x"}, {"a": "2", "b": "x"}, {"a": "3"}, {"a": "3", "b": "y"})


def _entry(number: int, labels: dict[str, str]) -> Entry:
    return number, f"v{number}", volume(f"v{number}", labels=labels)


def _lists() -> LabelIndex:
    found = LabelIndex()
    for number, labels in enumerate(LABELS):
        found.put(_entry(number, labels))
    return found


def _selector(*expressions: tuple[str, str, list[str]]) -> LabelSelector:
    requested: Any = [
        {"key": key, "operator": operator, **({"values": values} if values else {})}
        for key, operator, values in expressions
    ]
    found = claim(selector={"matchExpressions": requested}).selector
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("expressions", "names"),
    [
        ([("a", "In", ["1"])], [["v0"]]),
        ([("a", "In", ["1", "3", "9"])], [["v0"], ["v2", "v3"]]),
        ([("b", "Exists", [])], [["v0", "v1"], ["v3"]]),
        ([("z", "Exists", [])], []),
        ([("b", "NotIn", ["x"])], None),
        ([("b", "DoesNotExist", [])], None),
        ([("z", "NotIn", ["x"])], None),
        ([("a", "DoesNotExist", [])], []),
        ([("a", "NotIn", ["3"])], [["v0"], ["v1"]]),
        ([("a", "Exists", []), ("b", "In", ["y"])], [["v3"]]),
        ([("b", "In", ["y"]), ("a", "Exists", [])], [["v3"]]),
        ([("b", "DoesNotExist", []), ("a", "In", ["2"])], [["v1"]]),
        ([("a", "In", ["2"]), ("a", "In", ["1"])], [["v1"]]),
    ],
)
def test_the_requirement_with_the_fewest_volumes_is_used(
    expressions: list[tuple[str, str, list[str]]], names: list[list[str]] | None
) -> None:
    """None means that no requirement can be used; of two with equally many volumes the first is."""
    found = _lists().candidates(_selector(*expressions))
    assert (found if found is None else [[entry[1] for entry in each] for each in found]) == names


def test_a_dropped_volume_is_in_no_list() -> None:
    """The counts are updated, so that a label which all remaining volumes have can be used."""
    lists, missing = _lists(), _entry(2, {"a": "3"})
    lists.drop(missing)

    assert (lists.total, lists.having) == (3, {"a": 3, "b": 3})
    found = lists.candidates(_selector(("b", "NotIn", ["x"])))
    assert found is not None
    assert [[entry[1] for entry in each] for each in found] == [["v3"]]
    for number, labels in enumerate(LABELS):
        if number != missing[0]:
            lists.drop(_entry(number, labels))
    assert lists == LabelIndex(), "an index without volumes is empty"


def test_a_label_that_no_volume_has_is_not_used() -> None:
    """A volume may match because it lacks the label."""
    lists = LabelIndex()
    lists.put(_entry(0, {"a": "1"}))

    assert lists.candidates(_selector(("z", "NotIn", ["x"]))) is None
