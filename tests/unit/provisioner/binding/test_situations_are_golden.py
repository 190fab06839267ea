"""The reported results are an API: the whole result of each situation is recorded, and changes deliberately."""

from tests.unit.provisioner.binding.situations import GOLDEN, lines


def test_every_situation_has_its_recorded_result() -> None:
    """It has the action, volume, node, each reason's code, values and message, and the order of rejected volumes."""
    recorded = dict(_split(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines())
    actual = dict(map(_split, lines()))

    assert {key: value for key, value in actual.items() if recorded.get(key) != value} == {}
    assert recorded.keys() == actual.keys()


def _split(line: str) -> tuple[str, str]:
    name, _, result = line.partition(": ")
    return name, result
