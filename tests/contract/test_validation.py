"""Validation: refused requests and their messages."""

import asyncio
from typing import Any

import pytest

from tests.contract.conftest import MERGE, Api, Json, claim, stateful_set


async def test_strict_validation_refuses_unknown_fields(api: Api) -> None:
    """Strict validation refuses the request and lists every unknown field with its path."""
    body = claim(nonsense=1)
    body["metadata"]["color"] = "red"
    answer = await api.call("POST", api.claims, body, fieldValidation="Strict")
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert 'unknown field "spec.nonsense"' in answer.message
    assert 'unknown field "metadata.color"' in answer.message


async def test_unknown_fields_are_dropped_with_a_warning(api: Api) -> None:
    """By default unknown fields are dropped with a Warning header, under Ignore without one."""
    answer = await api.call("POST", api.claims, claim(nonsense=1))
    assert answer.status == 201
    assert "nonsense" not in answer.body["spec"]
    assert answer.warnings == ['299 - "unknown field \\"spec.nonsense\\""']
    silent = await api.call("POST", api.claims, claim("b", nonsense=1), fieldValidation="Ignore")
    assert (silent.status, silent.warnings) == (201, [])


async def test_a_patch_is_validated_too(api: Api) -> None:
    """Strict validation refuses a patch with an unknown field."""
    await api.create(api.claims, claim())
    patch = {"spec": {"nonsense": 1}}
    answer = await api.call("PATCH", f"{api.claims}/www", patch, content=MERGE, fieldValidation="Strict")
    assert answer.status in (400, 422)
    assert 'unknown field "spec.nonsense"' in answer.message


@pytest.mark.parametrize(
    ("path", "value"),
    [("replicas", "two"), ("replicas", 1.5), ("serviceName", 5), ("selector", []), ("volumeClaimTemplates", {})],
)
async def test_a_value_of_the_wrong_type_is_refused(api: Api, path: str, value: Any) -> None:
    """A value of the wrong type is a bad request, and the message names the field."""
    answer = await api.call("POST", api.sets, stateful_set(**{path: value}))
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert path in answer.message


async def test_an_invalid_quantity_is_refused(api: Api) -> None:
    """A size that cannot be parsed is a bad request."""
    assert (await api.call("POST", api.claims, claim(size="big"))).status == 400


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
async def test_a_malformed_body_is_refused(api: Api, body: bytes) -> None:
    """A body that is not a JSON object is a bad request, returned as a Status."""
    answer = await api.call("POST", api.claims, body)
    assert (answer.status, answer.body["kind"]) == (400, "Status")


async def test_an_object_of_another_kind_is_refused(api: Api) -> None:
    """An object of another kind or version than the path's is a bad request."""
    body = claim() | {"kind": "Pod"}
    assert (await api.call("POST", api.claims, body)).status == 400


async def test_names_on_path_and_in_body_must_agree(api: Api) -> None:
    """An object with another name or namespace than the path's is a bad request."""
    created = await api.create(api.claims, claim())
    created["metadata"]["name"] = "other"
    assert (await api.call("PUT", f"{api.claims}/www", created)).status == 400
    elsewhere = claim("b")
    elsewhere["metadata"]["namespace"] = "default"
    assert (await api.call("POST", api.claims, elsewhere)).status == 400


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254, ""])
async def test_names_follow_dns(api: Api, name: str) -> None:
    """A name is a lowercase DNS subdomain."""
    answer = await api.call("POST", api.claims, claim(name))
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "metadata.name"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"accessModes": []}, "spec.accessModes"),
        ({"accessModes": ["Often"]}, "spec.accessModes"),
        ({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}, "spec.accessModes"),
        ({"resources": {}}, "spec.resources[storage]"),
        ({"resources": {"requests": {"storage": "0"}}}, "spec.resources[storage]"),
        ({"volumeMode": "Cloud"}, "spec.volumeMode"),
    ],
)
async def test_a_claim_must_have_valid_modes_and_a_size(api: Api, spec: Json, field: str) -> None:
    """A claim with missing or invalid modes or size is invalid, and the cause names the field."""
    answer = await api.call("POST", api.claims, claim() | {"spec": claim()["spec"] | spec})
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.message.startswith('PersistentVolumeClaim "www" is invalid: ')
    fields = [cause["field"] for cause in answer.body["details"]["causes"]]
    assert any(each.startswith(field.partition("[")[0]) for each in fields)


async def test_a_set_must_select_its_own_pods(api: Api) -> None:
    """A set whose selector does not match its template is invalid."""
    answer = await api.call("POST", api.sets, stateful_set(selector={"matchLabels": {"app": "other"}}))
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.message.startswith('StatefulSet.apps "web" is invalid: ')


@pytest.mark.parametrize(
    "patch",
    [
        {"accessModes": ["ReadWriteMany"]},
        {"storageClassName": "other"},
        {"volumeMode": "Block"},
        {"resources": {"requests": {"storage": "2Gi"}}},
    ],
)
async def test_the_spec_of_an_unbound_claim_is_immutable(api: Api, patch: Json) -> None:
    """The spec of an unbound claim cannot be changed."""
    await api.create(api.claims, claim())
    answer = await api.call("PATCH", f"{api.claims}/www", {"spec": patch}, content=MERGE)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert "spec is immutable after creation" in answer.message


async def test_a_claims_volume_is_set_once(api: Api) -> None:
    """A claim's volumeName can be set once and cannot be changed afterwards."""
    await api.create(api.claims, claim())
    assert (await api.patch(f"{api.claims}/www", {"spec": {"volumeName": "pv-1"}}))["spec"]["volumeName"] == "pv-1"
    answer = await api.call("PATCH", f"{api.claims}/www", {"spec": {"volumeName": "pv-2"}}, content=MERGE)
    assert answer.status == 422


async def test_a_bound_claim_can_be_expanded_if_its_class_allows(api: Api, storage_class: Json) -> None:
    """A request may be raised if the class allows expansion, and lowered again, but not to its capacity or below."""
    name = storage_class["metadata"]["name"]
    await api.create(api.claims, claim(storageClassName=name))
    path = f"{api.claims}/www"
    await api.patch(path, {"spec": {"volumeName": "pv-1"}})
    await api.patch(f"{path}/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}})

    def request(size: str) -> Json:
        return {"spec": {"resources": {"requests": {"storage": size}}}}

    assert (await api.patch(path, request("2Gi")))["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert (await api.patch(path, request("1536Mi")))["spec"]["resources"]["requests"]["storage"] == "1536Mi"
    for size in ("1Gi", "512Mi"):
        assert (await api.call("PATCH", path, request(size), content=MERGE)).status == 422
    await api.patch(f"{api.classes}/{name}", {"allowVolumeExpansion": False})
    async with asyncio.timeout(20):  # kube-apiserver reads the class from a cache that may be stale for a moment
        while (refused := await api.call("PATCH", path, request("3Gi"), content=MERGE, dryRun="All")).status == 200:
            await asyncio.sleep(0.1)
    assert (refused.status, refused.reason) == (403, "Forbidden")


async def test_the_source_of_a_volume_is_immutable(api: Api, volume: Json) -> None:
    """A PersistentVolume's source cannot be changed; its claimRef can."""
    path = f"{api.volumes}/{volume['metadata']['name']}"
    refused = await api.call("PATCH", path, {"spec": {"csi": {"volumeHandle": "pool.two"}}}, content=MERGE)
    assert (refused.status, refused.reason) == (422, "Invalid")
    reference = {"claimRef": {"namespace": api.namespace, "name": "www"}}
    assert (await api.patch(path, {"spec": reference}))["spec"]["claimRef"]["name"] == "www"


async def test_a_volume_has_one_source(api: Api) -> None:
    """A PersistentVolume without a source is invalid."""
    body = {
        "metadata": {"name": f"{api.namespace}-none"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
    }
    answer = await api.call("POST", api.volumes, body)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert "must specify a volume type" in answer.message


async def test_claim_templates_are_immutable(api: Api) -> None:
    """The claim templates of a StatefulSet cannot be changed; its replicas can."""
    await api.create(api.sets, stateful_set())
    refused = await api.call("PATCH", f"{api.sets}/web", {"spec": {"volumeClaimTemplates": []}}, content=MERGE)
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert "spec.volumeClaimTemplates: Invalid value: []: field is immutable" in refused.message


async def test_a_class_is_immutable(api: Api, storage_class: Json) -> None:
    """Parameters, provisioner and reclaim policy of a class cannot be changed."""
    path = f"{api.classes}/{storage_class['metadata']['name']}"
    for patch in ({"parameters": {"backend": "loop"}}, {"provisioner": "other"}, {"reclaimPolicy": "Retain"}):
        assert (await api.call("PATCH", path, patch, content=MERGE)).status == 422
