"""What is refused, and how it is said."""

import asyncio
from typing import Any

import pytest

from tests.contract.conftest import MERGE, Api, Json, claim, stateful_set


async def test_unknown_fields_are_refused_when_strict(api: Api) -> None:
    """Strict refuses and lists every unknown field with its path."""
    body = claim(nonsense=1)
    body["metadata"]["color"] = "red"
    answer = await api.call("POST", api.claims, body, fieldValidation="Strict")
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert 'unknown field "spec.nonsense"' in answer.message
    assert 'unknown field "metadata.color"' in answer.message


async def test_unknown_fields_are_dropped_with_a_warning(api: Api) -> None:
    """By default unknown fields go, with a Warning header; Ignore drops them without a word."""
    answer = await api.call("POST", api.claims, claim(nonsense=1))
    assert answer.status == 201
    assert "nonsense" not in answer.body["spec"]
    assert answer.warnings == ['299 - "unknown field \\"spec.nonsense\\""']
    silent = await api.call("POST", api.claims, claim("b", nonsense=1), fieldValidation="Ignore")
    assert (silent.status, silent.warnings) == (201, [])


async def test_a_patch_is_held_to_the_fields_too(api: Api) -> None:
    """A patch under Strict may not bring an unknown field."""
    await api.made(api.claims, claim())
    patch = {"spec": {"nonsense": 1}}
    answer = await api.call("PATCH", f"{api.claims}/www", patch, content=MERGE, fieldValidation="Strict")
    assert answer.status in (400, 422)
    assert 'unknown field "spec.nonsense"' in answer.message


@pytest.mark.parametrize(
    ("path", "value"),
    [("replicas", "two"), ("replicas", 1.5), ("serviceName", 5), ("selector", []), ("volumeClaimTemplates", {})],
)
async def test_a_value_of_the_wrong_type_is_refused(api: Api, path: str, value: Any) -> None:
    """Wrong types are a bad request that names the field."""
    answer = await api.call("POST", api.sets, stateful_set(**{path: value}))
    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert path in answer.message


async def test_what_is_no_quantity_is_refused(api: Api) -> None:
    """A size that cannot be read is a bad request."""
    assert (await api.call("POST", api.claims, claim(size="big"))).status == 400


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
async def test_a_broken_body_is_refused(api: Api, body: bytes) -> None:
    """What is no JSON object is a bad request, as a Status."""
    answer = await api.call("POST", api.claims, body)
    assert (answer.status, answer.body["kind"]) == (400, "Status")


async def test_another_kind_does_not_belong_to_the_path(api: Api) -> None:
    """An object of another kind or version is a bad request."""
    body = claim() | {"kind": "Pod"}
    assert (await api.call("POST", api.claims, body)).status == 400


async def test_names_on_path_and_in_body_must_agree(api: Api) -> None:
    """An object for another name or namespace than the path's is a bad request."""
    made = await api.made(api.claims, claim())
    made["metadata"]["name"] = "other"
    assert (await api.call("PUT", f"{api.claims}/www", made)).status == 400
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
async def test_a_claim_must_say_what_it_wants(api: Api, spec: Json, field: str) -> None:
    """A claim without a mode or a size, or with an unknown one, is invalid, and the cause names the field."""
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
async def test_a_claims_spec_stays(api: Api, patch: Json) -> None:
    """What a claim asks for does not change while it is unbound."""
    await api.made(api.claims, claim())
    answer = await api.call("PATCH", f"{api.claims}/www", {"spec": patch}, content=MERGE)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert "spec is immutable after creation" in answer.message


async def test_a_claims_volume_is_set_once(api: Api) -> None:
    """A claim may be given a volume, and then never another."""
    await api.made(api.claims, claim())
    assert (await api.patched(f"{api.claims}/www", {"spec": {"volumeName": "pv-1"}}))["spec"]["volumeName"] == "pv-1"
    answer = await api.call("PATCH", f"{api.claims}/www", {"spec": {"volumeName": "pv-2"}}, content=MERGE)
    assert answer.status == 422


async def test_a_bound_claim_may_grow_where_its_class_allows(api: Api, storage_class: Json) -> None:
    """A bound claim may ask for more where its class expands, and for less than that again, but more than it has."""
    name = storage_class["metadata"]["name"]
    await api.made(api.claims, claim(storageClassName=name))
    at = f"{api.claims}/www"
    await api.patched(at, {"spec": {"volumeName": "pv-1"}})
    await api.patched(f"{at}/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}})

    def asks(size: str) -> Json:
        return {"spec": {"resources": {"requests": {"storage": size}}}}

    assert (await api.patched(at, asks("2Gi")))["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert (await api.patched(at, asks("1536Mi")))["spec"]["resources"]["requests"]["storage"] == "1536Mi"
    for size in ("1Gi", "512Mi"):
        assert (await api.call("PATCH", at, asks(size), content=MERGE)).status == 422
    await api.patched(f"{api.classes}/{name}", {"allowVolumeExpansion": False})
    async with asyncio.timeout(20):  # a real server looks at a copy of the class that may be a moment old
        while (refused := await api.call("PATCH", at, asks("3Gi"), content=MERGE, dryRun="All")).status == 200:
            await asyncio.sleep(0.1)
    assert (refused.status, refused.reason) == (403, "Forbidden")


async def test_a_volumes_source_stays(api: Api, volume: Json) -> None:
    """Where a volume's bytes are never changes; what it is kept for does."""
    at = f"{api.volumes}/{volume['metadata']['name']}"
    refused = await api.call("PATCH", at, {"spec": {"csi": {"volumeHandle": "pool.two"}}}, content=MERGE)
    assert (refused.status, refused.reason) == (422, "Invalid")
    reference = {"claimRef": {"namespace": api.namespace, "name": "www"}}
    assert (await api.patched(at, {"spec": reference}))["spec"]["claimRef"]["name"] == "www"


async def test_a_volume_has_one_source(api: Api) -> None:
    """A volume without a source is invalid."""
    body = {
        "metadata": {"name": f"{api.namespace}-none"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
    }
    answer = await api.call("POST", api.volumes, body)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert "must specify a volume type" in answer.message


async def test_a_sets_templates_stay(api: Api) -> None:
    """The claim templates of a set never change; its replicas do."""
    await api.made(api.sets, stateful_set())
    refused = await api.call("PATCH", f"{api.sets}/web", {"spec": {"volumeClaimTemplates": []}}, content=MERGE)
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert "spec.volumeClaimTemplates: Invalid value: []: field is immutable" in refused.message


async def test_a_class_stays(api: Api, storage_class: Json) -> None:
    """Parameters, provisioner and policy of a class never change."""
    at = f"{api.classes}/{storage_class['metadata']['name']}"
    for patch in ({"parameters": {"backend": "loop"}}, {"provisioner": "other"}, {"reclaimPolicy": "Retain"}):
        assert (await api.call("PATCH", at, patch, content=MERGE)).status == 422
