"""
Objects as a Table, the way clients like `kubectl get` show them.

Source: Kubernetes API conventions, "Receiving resources as Tables". The columns of each kind are in `columns`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from provisioner.embedded.apiserver.http.columns import COLUMNS, Column
from provisioner.model.kinds import Json, Kind


class Include(StrEnum):
    """How much of an object goes along with its row."""

    NONE = "None"
    METADATA = "Metadata"
    OBJECT = "Object"


def table(kind: Kind, objects: Sequence[Json], version: str, include: Include) -> Json:
    """The objects of one kind as a Table of that resourceVersion."""
    columns = COLUMNS[kind]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [_row(columns, obj, include) for obj in objects],
    }


PARTIAL: Final[Json] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


def partial(obj: Json) -> Json:
    """An object without all that is not metadata."""
    return PARTIAL | {"metadata": obj["metadata"]}


def _definition(column: Column) -> Json:
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if column.name == "Name" else "",
        "description": column.description,
        "priority": 1 if column.wide else 0,
    }


def _row(columns: Sequence[Column], obj: Json, include: Include) -> Json:
    row: Json = {"cells": [column.cell(obj) for column in columns]}
    shown: Any = None
    if include is Include.OBJECT:
        shown = obj
    elif include is Include.METADATA:
        shown = partial(obj)
    if shown is not None:
        row["object"] = shown
    return row
