"""
What a YAML document may cost, measured on its events before anything is built of them.

Aliases make a small text stand for a large object ("billion laughs"), and deep nesting or endless numbers cost more
than their length. Source of the idea: kubernetes, CVE-2019-11253.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from provisioner import limits

LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where there is one. It must see only what was measured: too deep a document ends its process."""

NUMBER_CHARACTERS: Final = limits.YAML_NUMBER_CHARACTERS
"""Longest number, plain or tagged as one: YAML 1.1 reads ``1:1:1…`` as a number of base 60, in quadratic time."""

_DIGITS: Final = frozenset("0123456789_:+-.")


class TooCostly(yaml.YAMLError):
    """A document over a limit; the text says which. `problem` is the same, as other errors of YAML have it."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Limits:
    """For one document: nodes and characters, an alias counted as what it stands for, and levels of nesting."""

    nodes: int
    characters: int
    depth: int = limits.YAML_DEPTH
    documents: int = 100_000


REQUEST: Final = Limits(nodes=limits.YAML_NODES, characters=limits.BODY_BYTES, documents=1)
"""For one request to the engine's API; kube-apiserver takes 3 MiB."""

FILE: Final = Limits(nodes=limits.YAML_FILE_NODES, characters=limits.YAML_FILE_CHARACTERS)
"""For one document of a person's own file, which may be a list of many objects."""


@dataclass(slots=True)
class _Cost:
    nodes: int = 0
    characters: int = 0
    anchor: str | None = None


def check(text: str | bytes, limits: Limits) -> None:
    """Raise TooCostly for a document over a limit, and another YAMLError for what is no YAML."""
    anchors: dict[str, _Cost] = {}
    open_: list[_Cost] = []
    documents = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            anchors, open_, documents = {}, [_Cost()], documents + 1
            if documents > limits.documents:
                raise TooCostly(f"it has more documents than {limits.documents}")
        for cost in _costs(event, anchors, open_):
            _add(open_[-1], cost)
            if cost.anchor is not None:
                anchors[cost.anchor] = cost
        _refuse_over(limits, open_)


def _costs(event: Any, anchors: dict[str, _Cost], open_: list[_Cost]) -> Iterator[_Cost]:
    """What the event completes; `open_` are the collections around it, the document first."""
    if isinstance(event, yaml.CollectionStartEvent):
        open_.append(_Cost(nodes=1, anchor=event.anchor))
    elif isinstance(event, yaml.CollectionEndEvent):
        yield open_.pop()
    elif isinstance(event, yaml.AliasEvent):
        if any(each.anchor == event.anchor for each in open_):
            raise TooCostly(f"the alias *{event.anchor} stands inside of what it stands for")
        found = anchors.get(event.anchor or "", _Cost(nodes=1))
        yield _Cost(found.nodes, found.characters)
    elif isinstance(event, yaml.ScalarEvent):
        if len(event.value) > NUMBER_CHARACTERS and _is_number(event):
            raise TooCostly(f"a number has more than {NUMBER_CHARACTERS} characters; quote it if it is text")
        yield _Cost(1, len(event.value), event.anchor)


def _is_number(event: yaml.ScalarEvent) -> bool:
    """Whether it may be read as a number: its tag says so, or it is plain and has nothing but digits and signs."""
    if event.tag is not None:
        return event.tag.endswith((":int", ":float"))
    return bool(event.implicit[0]) and _DIGITS.issuperset(event.value)


def _add(around: _Cost, cost: _Cost) -> None:
    around.nodes += cost.nodes
    around.characters += cost.characters


def _refuse_over(limits: Limits, open_: list[_Cost]) -> None:
    if len(open_) > limits.depth:
        raise TooCostly(f"it is nested too deeply: the limit is {limits.depth} levels")
    if not open_:
        return
    if sum(each.nodes for each in open_) > limits.nodes:
        raise TooCostly(f"it has more than {limits.nodes} values, those that aliases repeat included")
    if sum(each.characters for each in open_) > limits.characters:
        raise TooCostly(f"it has more than {limits.characters} characters, those that aliases repeat included")
