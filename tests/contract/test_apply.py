"""Server-side apply, and field ownership."""

from typing import Any

import pytest

from tests.contract.conftest import APPLY, JSON_PATCH, MERGE, Answer, Api, Json, claim, stateful_set


async def apply(api: Api, path: str, body: Json, manager: str = "one", **query: str) -> Answer:
    """Send one apply."""
    kind = ("v1", "PersistentVolumeClaim") if "claims" in path else ("apps/v1", "StatefulSet")
    configuration = {"apiVersion": kind[0], "kind": kind[1], **body}
    return await api.call("PATCH", path, configuration, content=APPLY, fieldManager=manager, **query)


def _labels(**labels: str) -> Json:
    return {"metadata": {"labels": labels}}


def managers(obj: Json) -> dict[tuple[str, str, str], Json]:
    """Return the fields of each manager by its name, operation and subresource."""
    return {
        (each["manager"], each["operation"], each.get("subresource", "")): each["fieldsV1"]
        for each in obj["metadata"].get("managedFields", [])
    }


async def test_an_apply_creates_a_missing_object(api: Api) -> None:
    """The first apply returns 201, a repeated one 200; the manager owns exactly the fields that it applied."""
    body = claim(labels={"app": "nginx"})
    first = await apply(api, f"{api.claims}/www", body)
    assert first.status == 201, first.body
    assert (await apply(api, f"{api.claims}/www", body)).status == 200
    assert managers(first.body)["one", "Apply", ""] == {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {"f:accessModes": {}, "f:resources": {"f:requests": {"f:storage": {}}}, "f:storageClassName": {}},
    }


async def test_an_entry_of_managed_fields_is_complete(api: Api) -> None:
    """An entry of managedFields has API version, type, operation and time."""
    created = (await apply(api, f"{api.claims}/www", claim())).body
    (entry,) = (each for each in created["metadata"]["managedFields"] if each["manager"] == "one")
    assert (entry["apiVersion"], entry["fieldsType"], entry["operation"]) == ("v1", "FieldsV1", "Apply")
    assert entry["time"]


async def test_a_field_that_is_no_longer_applied_is_removed(api: Api) -> None:
    """A field that its manager no longer applies is removed, unless another manager owns it, too."""
    path = f"{api.claims}/www"
    await apply(api, path, claim(labels={"single": "1", "shared": "1"}))
    assert (await apply(api, path, _labels(shared="1"), "two")).status == 200
    left = (await apply(api, path, claim())).body
    assert left["metadata"]["labels"] == {"shared": "1"}
    left = (await apply(api, path, {"metadata": {"name": "www"}}, "two")).body
    assert "labels" not in left["metadata"]
    assert ("two", "Apply", "") not in managers(left)


async def test_a_field_of_another_manager_is_a_conflict(api: Api) -> None:
    """The 409 names manager and field, and nothing is changed; applying the same value is not a conflict."""
    path = f"{api.claims}/www"
    await apply(api, path, claim(labels={"tier": "a"}))
    answer = await apply(api, path, _labels(tier="b"), "two")
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "one": .metadata.labels.tier'
    assert answer.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".metadata.labels.tier"}
    ]
    assert (await api.get(path))["metadata"]["labels"] == {"tier": "a"}
    assert (await apply(api, path, _labels(tier="a"), "two")).status == 200


async def test_a_conflict_can_be_forced(api: Api) -> None:
    """Force transfers the ownership of a field: the former owner loses it and may not change it back."""
    path = f"{api.claims}/www"
    await apply(api, path, claim(labels={"tier": "a"}))
    forced = await apply(api, path, _labels(tier="b"), "two", force="true")
    assert forced.status == 200, forced.body
    assert forced.body["metadata"]["labels"] == {"tier": "b"}
    assert "f:metadata" not in managers(forced.body)["one", "Apply", ""]
    assert (await apply(api, path, claim(labels={"tier": "a"}))).status == 409
    assert (await apply(api, path, claim())).body["metadata"]["labels"] == {"tier": "b"}


async def test_an_update_takes_over_fields(api: Api) -> None:
    """The manager of an ordinary write owns the changed fields; an apply of another value conflicts with it."""
    path = f"{api.sets}/web"
    await apply(api, path, stateful_set(replicas=1))
    patch = {"spec": {"replicas": 3}}
    patched = await api.call("PATCH", path, patch, content=MERGE, fieldManager="hand")
    found = managers(patched.body)
    assert found["hand", "Update", ""] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in found["one", "Apply", ""]["f:spec"]
    answer = await apply(api, path, stateful_set(replicas=1))
    assert answer.status == 409
    assert answer.message == 'Apply failed with 1 conflict: conflict with "hand" using apps/v1: .spec.replicas'


async def test_several_conflicts_are_listed_by_manager(api: Api) -> None:
    """The message lists each manager with its conflicting fields."""
    path = f"{api.claims}/www"
    await apply(api, path, claim(labels={"a": "1", "b": "1"}), "x")
    await apply(api, path, _labels(c="1"), "y")
    answer = await apply(api, path, _labels(a="2", b="2", c="2"), "two")
    assert answer.status == 409
    assert answer.message.splitlines() == [
        'Apply failed with 3 conflicts: conflicts with "x":',
        "- .metadata.labels.a",
        "- .metadata.labels.b",
        'conflicts with "y":',
        "- .metadata.labels.c",
    ]


async def test_an_update_through_a_subresource_has_its_own_entry(api: Api) -> None:
    """Updates through status and scale have separate entries in managedFields."""
    path = f"{api.sets}/web"
    await apply(api, path, stateful_set(replicas=1))
    status = {"status": {"replicas": 1, "observedGeneration": 1}}
    await api.call("PATCH", f"{path}/status", status, content=MERGE, fieldManager="controller")
    await api.call("PATCH", f"{path}/scale", {"spec": {"replicas": 4}}, content=MERGE, fieldManager="scaler")
    found = managers(await api.get(path))
    assert found["controller", "Update", "status"]["f:status"]["f:replicas"] == {}
    assert found["scaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}


async def test_entries_of_a_keyed_list_belong_to_their_managers(api: Api) -> None:
    """Two managers own a container each; a manager that stops applying its container removes only that one."""
    path = f"{api.sets}/web"
    await apply(api, path, stateful_set())

    def containers(*entries: Json) -> Json:
        return {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": list(entries)}}}}

    side = {"name": "side", "image": "busybox:1", "ports": [{"containerPort": 80}]}
    both = await apply(api, path, containers(side), "two")
    assert both.status == 200, both.body
    found = both.body["spec"]["template"]["spec"]["containers"]
    assert {each["name"] for each in found} == {"main", "side"}
    owned = managers(both.body)["two", "Apply", ""]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    (key,) = owned
    assert key == 'k:{"name":"side"}'
    assert owned[key]["f:ports"] == {
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
    }
    alone = await apply(api, path, containers(), "two")
    assert alone.status == 200, alone.body
    assert [each["name"] for each in alone.body["spec"]["template"]["spec"]["containers"]] == ["main"]


async def test_finalizers_are_a_set_with_many_owners(api: Api) -> None:
    """Each manager adds and removes only the finalizers that it applies."""
    path = f"{api.claims}/www"
    await apply(api, path, claim())
    for manager in ("two", "three"):
        finalizers = {"metadata": {"finalizers": [f"example.dev/{manager}"]}}
        both = await apply(api, path, finalizers, manager)
    assert {"example.dev/two", "example.dev/three"} <= set(both.body["metadata"]["finalizers"])
    left = (await apply(api, path, {"metadata": {"name": "www"}}, "two")).body["metadata"]["finalizers"]
    assert "example.dev/three" in left
    assert "example.dev/two" not in left


async def test_a_dry_run_of_an_apply_changes_nothing(api: Api) -> None:
    """A dry run returns what the apply would return, and stores nothing."""
    path = f"{api.claims}/www"
    tried = await apply(api, path, claim(), dryRun="All")
    assert tried.status == 201
    assert (await api.call("GET", path)).status == 404


@pytest.mark.parametrize(
    ("change", "query", "status"),
    [
        ({"metadata": {"name": "other"}}, {}, 400),
        ({"metadata": {"managedFields": [{"manager": "x"}]}}, {}, 400),
        ({"metadata": {"resourceVersion": "1"}}, {}, 409),
        ({"spec": {"nonsense": 1}}, {"fieldValidation": "Strict"}, 500),
        ({}, {"fieldManager": ""}, 422),
    ],
)
async def test_an_invalid_apply_is_refused(api: Api, change: Json, query: dict[str, str], status: int) -> None:
    """Another name, managedFields, an old version, an unknown field and a missing manager are refused."""
    path = f"{api.claims}/www"
    await apply(api, path, claim())
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **change}
    answer = await api.call("PATCH", path, body, content=APPLY, **({"fieldManager": "one"} | query))
    assert answer.status == status, answer.body


async def test_an_entry_may_be_applied_only_once(api: Api) -> None:
    """A configuration with two containers of one name is refused."""
    duplicates = [{"name": "main", "image": "a:1"}, {"name": "main", "image": "b:1"}]
    body = {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": duplicates}}}}
    await apply(api, f"{api.sets}/web", stateful_set())
    answer = await apply(api, f"{api.sets}/web", body)
    assert answer.status >= 400
    assert ".spec.template.spec.containers" in answer.message
    assert '[name="main"]' in answer.message


async def test_force_is_for_applies_only(api: Api) -> None:
    """Force with another type of patch is refused, and the cause names it."""
    await api.create(api.claims, claim())
    answer = await api.call("PATCH", f"{api.claims}/www", {}, content=MERGE, force="true")
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "force"


async def test_the_list_of_managers_can_be_cleared(api: Api) -> None:
    """A single empty entry clears all managers; at the next apply before-first-apply owns the existing fields."""
    path = f"{api.claims}/www"
    await apply(api, path, claim(labels={"a": "1"}))
    clear = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
    cleared = await api.patch(path, clear, JSON_PATCH)
    assert "managedFields" not in cleared["metadata"]
    again = await apply(api, path, _labels(b="1"), "two")
    found = managers(again.body)
    assert found["two", "Apply", ""] == {"f:metadata": {"f:labels": {"f:b": {}}}}
    assert found["before-first-apply", "Update", ""]["f:metadata"]["f:labels"]["f:a"] == {}


async def test_defaults_are_not_a_change(api: Api) -> None:
    """A repeated apply of a StatefulSet has no conflict and gives no new version, in spite of its defaults."""
    path = f"{api.sets}/web"
    first = await apply(api, path, stateful_set())
    again = await apply(api, path, stateful_set())
    assert again.status == 200
    assert again.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def test_kubectl_takes_over_from_its_own_client_side_apply(api: Api) -> None:
    """For the manager kubectl the fields in its annotation are no conflict, and the annotation is updated."""
    path = f"{api.claims}/www"
    text = '{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"www","labels":{"a":"1"}}}'
    body: Any = claim(labels={"a": "1"})
    body["metadata"]["annotations"] = {LAST_APPLIED: text}
    await api.call("POST", api.claims, body, fieldManager="kubectl-client-side-apply")
    assert (await apply(api, path, _labels(a="2"), "other")).status == 409
    taken = await apply(api, path, _labels(a="2"), "kubectl")
    assert taken.status == 200, taken.body
    assert '"a":"2"' in taken.body["metadata"]["annotations"][LAST_APPLIED]
