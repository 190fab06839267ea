"""
Limits of a YAML document, measured on its parser events before objects are built.

Aliases expand a small text to a large object ("billion laughs"), and deep nesting and long numbers cost more than their
length. See kubernetes, CVE-2019-11253.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from provisioner import limits

LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C where available. It gets measured documents only: too deep a document crashes its process."""

NUMBER_CHARACTERS: Final = limits.YAML_NUMBER_CHARACTERS
"""The longest number: YAML 1.1 reads ``1:1:1…`` as a number of base 60, in quadratic time."""

_DIGITS: Final = frozenset("0123456789_:+-.")


class TooCostlyError(yaml.YAMLError):
    """A document over a limit; the message names the limit. `problem` is the message, as in other YAML errors."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one document: nodes and characters, with aliases expanded, and levels of nesting."""

    nodes: int
    characters: int
    depth: int = limits.YAML_DEPTH
    documents: int = 100_000


REQUEST: Final = Limits(nodes=limits.YAML_NODES, characters=limits.BODY_BYTES, documents=1)
"""The limits of one request to the engine's API; kube-apiserver accepts 3 MiB."""

FILE: Final = Limits(nodes=limits.YAML_FILE_NODES, characters=limits.YAML_FILE_CHARACTERS)
"""The limits of one document of a user's file, which may be a list of many objects."""


@dataclass(slots=True)
class _Cost:
    nodes: int = 0
    characters: int = 0
    anchor: str | None = None


def check(text: str | bytes, limits: Limits) -> None:
    """Raise TooCostlyError for a document over a limit, and another YAMLError for invalid YAML."""
    anchors: dict[str, _Cost] = {}
    open_: list[_Cost] = []
    documents = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            anchors, open_, documents = {}, [_Cost()], documents + 1
            if documents > limits.documents:
                raise TooCostlyError(f"it has more documents than {limits.documents}")
        for cost in _costs(event, anchors, open_):
            _add(open_[-1], cost)
            if cost.anchor is not None:
                anchors[cost.anchor] = cost
        _refuse_over(limits, open_)


def _costs(event: Any, anchors: dict[str, _Cost], open_: list[_Cost]) -> Iterator[_Cost]:
    """Add the cost of an event; `open_` are the collections around it, the document first."""
    if isinstance(event, yaml.CollectionStartEvent):
        open_.append(_Cost(nodes=1, anchor=event.anchor))
    elif isinstance(event, yaml.CollectionEndEvent):
        yield open_.pop()
    elif isinstance(event, yaml.AliasEvent):
        if any(each.anchor == event.anchor for each in open_):
            raise TooCostlyError(f"the alias *{event.anchor} is inside of its own anchor")
        found = anchors.get(event.anchor or "", _Cost(nodes=1))
        yield _Cost(found.nodes, found.characters)
    elif isinstance(event, yaml.ScalarEvent):
        if len(event.value) > NUMBER_CHARACTERS and _is_number(event):
            raise TooCostlyError(f"a number has more than {NUMBER_CHARACTERS} characters; quote it if it is text")
        yield _Cost(1, len(event.value), event.anchor)


def _is_number(event: yaml.ScalarEvent) -> bool:
    """Report whether a scalar may be read as a number: by its tag, or because it has digits and signs only."""
    if event.tag is not None:
        return event.tag.endswith((":int", ":float"))
    return bool(event.implicit[0]) and _DIGITS.issuperset(event.value)


def _add(around: _Cost, cost: _Cost) -> None:
    around.nodes += cost.nodes
    around.characters += cost.characters


def _refuse_over(limits: Limits, open_: list[_Cost]) -> None:
    if len(open_) > limits.depth:
        raise TooCostlyError(f"it is nested too deeply: the limit is {limits.depth} levels")
    if not open_:
        return
    if sum(each.nodes for each in open_) > limits.nodes:
        raise TooCostlyError(f"it has more than {limits.nodes} values, with aliases expanded")
    if sum(each.characters for each in open_) > limits.characters:
        raise TooCostlyError(f"it has more than {limits.characters} characters, with aliases expanded")
