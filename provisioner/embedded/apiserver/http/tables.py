"""
Objects as a Table, which clients such as `kubectl get` print.

Source: Kubernetes API conventions, "Receiving resources as Tables". The columns are in `columns`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from provisioner.embedded.apiserver.http.columns import COLUMNS, Column
from provisioner.model.kinds import Json, Kind


class Include(StrEnum):
    """How much of an object its row includes."""

    NONE = "None"
    METADATA = "Metadata"
    OBJECT = "Object"


def table(kind: Kind, objects: Sequence[Json], version: str, include: Include) -> Json:
    """Return the objects of one kind as a Table; `version` is its resourceVersion."""
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
    """Return an object's metadata as PartialObjectMetadata."""
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
    included: Any = None
    if include is Include.OBJECT:
        included = obj
    elif include is Include.METADATA:
        included = partial(obj)
    if included is not None:
        row["object"] = included
    return row
