"""The OpenAPI documents."""

from typing import Any

import pytest

from provisioner.embedded.apiserver.http import openapi
from provisioner.model.kinds import KINDS

ROOTS = sorted({kind.path().rpartition("/")[0] for kind in KINDS})


def references(value: Any) -> set[str]:
    """Return every referenced schema."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(each) for each in value.values()))
    return set().union(*(references(each) for each in value)) if isinstance(value, list) else set()


def test_the_index_has_every_group() -> None:
    """The index has a document for each group and version."""
    assert {entry["serverRelativeURL"] for entry in openapi.index()["paths"].values()} == {
        f"/openapi/v3{root}" for root in ROOTS
    }


@pytest.mark.parametrize("root", ROOTS)
def test_every_reference_has_its_schema(root: str) -> None:
    """A document has every schema that it references."""
    document = openapi.document(root)
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= schemas


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_kind_can_be_validated_by_the_server(kind: Any) -> None:
    """Each kind's PATCH has the parameter fieldValidation, for which kubectl leaves validation to the server."""
    document = openapi.document(kind.path().rpartition("/")[0])
    identity = {"group": kind.group, "version": kind.version, "kind": kind.name}
    found = [
        operations["patch"]
        for operations in document["paths"].values()
        if "patch" in operations and operations["patch"]["x-kubernetes-group-version-kind"] == identity
    ]
    assert len(found) == 1
    assert "fieldValidation" in {parameter["name"] for parameter in found[0]["parameters"]}
    schemas = document["components"]["schemas"].values()
    assert any(identity in each.get("x-kubernetes-group-version-kind", []) for each in schemas)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_kind_and_each_of_its_fields_is_described(kind: Any) -> None:
    """`kubectl explain` prints these descriptions."""
    identity = {"group": kind.group, "version": kind.version, "kind": kind.name}
    schemas = openapi.document(kind.path().rpartition("/")[0])["components"]["schemas"]
    (own,) = [each for each in schemas.values() if identity in each.get("x-kubernetes-group-version-kind", [])]

    assert own["description"]
    assert {name for name, field in own["properties"].items() if not field.get("description")} == set()
    for name in {"spec", "status"} & own["properties"].keys():
        (reference,) = references(own["properties"][name])
        assert schemas[reference.rpartition("/")[2]]["description"]
