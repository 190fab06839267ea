"""What people and programs are told is an API: each situation's whole answer is recorded, and changes on purpose."""

from tests.unit.provisioner.binding.situations import GOLDEN, lines


def test_every_situation_is_answered_as_it_was_recorded() -> None:
    """Action, volume, node, each reason's code and what it wants and has, the sentence, the order of misses."""
    recorded = dict(_split(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines())
    said = dict(map(_split, lines()))

    assert {key: value for key, value in said.items() if recorded.get(key) != value} == {}
    assert recorded.keys() == said.keys()


def _split(line: str) -> tuple[str, str]:
    name, _, answer = line.partition(": ")
    return name, answer
