"""Server-side apply, and who owns which field."""

from typing import Any

import pytest

from tests.contract.conftest import APPLY, JSON_PATCH, MERGE, Answer, Api, Json, claim, stateful_set


async def applied(api: Api, path: str, body: Json, manager: str = "one", **query: str) -> Answer:
    """One apply."""
    kind = ("v1", "PersistentVolumeClaim") if "claims" in path else ("apps/v1", "StatefulSet")
    whole = {"apiVersion": kind[0], "kind": kind[1], **body}
    return await api.call("PATCH", path, whole, content=APPLY, fieldManager=manager, **query)


def _labels(**labels: str) -> Json:
    return {"metadata": {"labels": labels}}


def managers(obj: Json) -> dict[tuple[str, str, str], Json]:
    """The fields of each manager, by name, operation and subresource."""
    return {
        (each["manager"], each["operation"], each.get("subresource", "")): each["fieldsV1"]
        for each in obj["metadata"].get("managedFields", [])
    }


async def test_an_apply_makes_what_is_not_there(api: Api) -> None:
    """201 at first, 200 when it is repeated; the manager owns exactly what it said."""
    body = claim(labels={"app": "nginx"})
    first = await applied(api, f"{api.claims}/www", body)
    assert first.status == 201, first.body
    assert (await applied(api, f"{api.claims}/www", body)).status == 200
    assert managers(first.body)["one", "Apply", ""] == {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {"f:accessModes": {}, "f:resources": {"f:requests": {"f:storage": {}}}, "f:storageClassName": {}},
    }


async def test_an_entry_tells_what_a_manager_is(api: Api) -> None:
    """An entry of managedFields has version, type and time."""
    made = (await applied(api, f"{api.claims}/www", claim())).body
    (entry,) = (each for each in made["metadata"]["managedFields"] if each["manager"] == "one")
    assert (entry["apiVersion"], entry["fieldsType"], entry["operation"]) == ("v1", "FieldsV1", "Apply")
    assert entry["time"]


async def test_a_field_that_is_no_longer_applied_goes(api: Api) -> None:
    """What a manager applied before and leaves out now is removed, unless another owns it, too."""
    at = f"{api.claims}/www"
    await applied(api, at, claim(labels={"mine": "1", "ours": "1"}))
    assert (await applied(api, at, _labels(ours="1"), "two")).status == 200
    left = (await applied(api, at, claim())).body
    assert left["metadata"]["labels"] == {"ours": "1"}
    gone = (await applied(api, at, {"metadata": {"name": "www"}}, "two")).body
    assert "labels" not in gone["metadata"]
    assert ("two", "Apply", "") not in managers(gone)


async def test_what_another_owns_is_a_conflict(api: Api) -> None:
    """409 names manager and field; nothing is changed; the same value is no conflict."""
    at = f"{api.claims}/www"
    await applied(api, at, claim(labels={"tier": "a"}))
    answer = await applied(api, at, _labels(tier="b"), "two")
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "one": .metadata.labels.tier'
    assert answer.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".metadata.labels.tier"}
    ]
    assert (await api.got(at))["metadata"]["labels"] == {"tier": "a"}
    assert (await applied(api, at, _labels(tier="a"), "two")).status == 200


async def test_a_conflict_can_be_forced(api: Api) -> None:
    """With force the field changes hands: the former owner has it no more and may not change it back."""
    at = f"{api.claims}/www"
    await applied(api, at, claim(labels={"tier": "a"}))
    forced = await applied(api, at, _labels(tier="b"), "two", force="true")
    assert forced.status == 200, forced.body
    assert forced.body["metadata"]["labels"] == {"tier": "b"}
    assert "f:metadata" not in managers(forced.body)["one", "Apply", ""]
    assert (await applied(api, at, claim(labels={"tier": "a"}))).status == 409
    assert (await applied(api, at, claim())).body["metadata"]["labels"] == {"tier": "b"}


async def test_an_update_takes_fields_over(api: Api) -> None:
    """An ordinary write owns what it changes from then on, and an apply that disagrees conflicts with it."""
    at = f"{api.sets}/web"
    await applied(api, at, stateful_set(replicas=1))
    patch = {"spec": {"replicas": 3}}
    patched = await api.call("PATCH", at, patch, content=MERGE, fieldManager="hand")
    found = managers(patched.body)
    assert found["hand", "Update", ""] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in found["one", "Apply", ""]["f:spec"]
    answer = await applied(api, at, stateful_set(replicas=1))
    assert answer.status == 409
    assert answer.message == 'Apply failed with 1 conflict: conflict with "hand" using apps/v1: .spec.replicas'


async def test_several_conflicts_are_listed_by_manager(api: Api) -> None:
    """Each manager with the fields that it owns."""
    at = f"{api.claims}/www"
    await applied(api, at, claim(labels={"a": "1", "b": "1"}), "x")
    await applied(api, at, _labels(c="1"), "y")
    answer = await applied(api, at, _labels(a="2", b="2", c="2"), "two")
    assert answer.status == 409
    assert answer.message.splitlines() == [
        'Apply failed with 3 conflicts: conflicts with "x":',
        "- .metadata.labels.a",
        "- .metadata.labels.b",
        'conflicts with "y":',
        "- .metadata.labels.c",
    ]


async def test_an_update_through_a_subresource_is_kept_apart(api: Api) -> None:
    """Status and scale are entries of their own."""
    at = f"{api.sets}/web"
    await applied(api, at, stateful_set(replicas=1))
    status = {"status": {"replicas": 1, "observedGeneration": 1}}
    await api.call("PATCH", f"{at}/status", status, content=MERGE, fieldManager="controller")
    await api.call("PATCH", f"{at}/scale", {"spec": {"replicas": 4}}, content=MERGE, fieldManager="scaler")
    found = managers(await api.got(at))
    assert found["controller", "Update", "status"]["f:status"]["f:replicas"] == {}
    assert found["scaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}


async def test_entries_of_a_keyed_list_belong_to_their_managers(api: Api) -> None:
    """Two managers have a container each; one that stops applying its own takes it away and leaves the other."""
    at = f"{api.sets}/web"
    await applied(api, at, stateful_set())

    def containers(*entries: Json) -> Json:
        return {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": list(entries)}}}}

    side = {"name": "side", "image": "busybox:1", "ports": [{"containerPort": 80}]}
    both = await applied(api, at, containers(side), "two")
    assert both.status == 200, both.body
    found = both.body["spec"]["template"]["spec"]["containers"]
    assert {each["name"] for each in found} == {"main", "side"}
    owned = managers(both.body)["two", "Apply", ""]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    (key,) = owned
    assert key == 'k:{"name":"side"}'
    assert owned[key]["f:ports"] == {
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
    }
    alone = await applied(api, at, containers(), "two")
    assert alone.status == 200, alone.body
    assert [each["name"] for each in alone.body["spec"]["template"]["spec"]["containers"]] == ["main"]


async def test_finalizers_are_a_set_with_many_owners(api: Api) -> None:
    """Each manager adds and removes its own finalizers."""
    at = f"{api.claims}/www"
    await applied(api, at, claim())
    for manager in ("two", "three"):
        mine = {"metadata": {"finalizers": [f"example.dev/{manager}"]}}
        both = await applied(api, at, mine, manager)
    assert {"example.dev/two", "example.dev/three"} <= set(both.body["metadata"]["finalizers"])
    left = (await applied(api, at, {"metadata": {"name": "www"}}, "two")).body["metadata"]["finalizers"]
    assert "example.dev/three" in left
    assert "example.dev/two" not in left


async def test_a_dry_run_of_an_apply_changes_nothing(api: Api) -> None:
    """The answer is that of the real thing."""
    at = f"{api.claims}/www"
    tried = await applied(api, at, claim(), dryRun="All")
    assert tried.status == 201
    assert (await api.call("GET", at)).status == 404


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
async def test_what_cannot_be_applied(api: Api, change: Json, query: dict[str, str], status: int) -> None:
    """Another name, a list of managers, an old version, an unknown field, no manager."""
    at = f"{api.claims}/www"
    await applied(api, at, claim())
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **change}
    answer = await api.call("PATCH", at, body, content=APPLY, **({"fieldManager": "one"} | query))
    assert answer.status == status, answer.body


async def test_an_entry_may_be_applied_only_once(api: Api) -> None:
    """A configuration with two containers of one name is refused."""
    twice = [{"name": "main", "image": "a:1"}, {"name": "main", "image": "b:1"}]
    body = {"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": twice}}}}
    await applied(api, f"{api.sets}/web", stateful_set())
    answer = await applied(api, f"{api.sets}/web", body)
    assert answer.status >= 400
    assert ".spec.template.spec.containers" in answer.message
    assert '[name="main"]' in answer.message


async def test_force_is_for_applies(api: Api) -> None:
    """With another patch it is refused, and the cause names it."""
    await api.made(api.claims, claim())
    answer = await api.call("PATCH", f"{api.claims}/www", {}, content=MERGE, force="true")
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "force"


async def test_the_list_of_managers_can_be_cleared(api: Api) -> None:
    """One empty entry forgets them all; the next apply finds what stood there under a manager of its own."""
    at = f"{api.claims}/www"
    await applied(api, at, claim(labels={"a": "1"}))
    clear = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
    cleared = await api.patched(at, clear, JSON_PATCH)
    assert "managedFields" not in cleared["metadata"]
    again = await applied(api, at, _labels(b="1"), "two")
    found = managers(again.body)
    assert found["two", "Apply", ""] == {"f:metadata": {"f:labels": {"f:b": {}}}}
    assert found["before-first-apply", "Update", ""]["f:metadata"]["f:labels"]["f:a"] == {}


async def test_what_the_server_filled_in_is_no_change(api: Api) -> None:
    """Applying a set again conflicts with nobody and makes no new version, whatever was defaulted in it."""
    at = f"{api.sets}/web"
    first = await applied(api, at, stateful_set())
    again = await applied(api, at, stateful_set())
    assert again.status == 200
    assert again.body["metadata"]["resourceVersion"] == first.body["metadata"]["resourceVersion"]


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


async def test_kubectl_takes_over_from_its_own_client_side_apply(api: Api) -> None:
    """What its annotation says is no conflict for the manager kubectl, and the annotation is kept true."""
    at = f"{api.claims}/www"
    text = '{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"www","labels":{"a":"1"}}}'
    body: Any = claim(labels={"a": "1"})
    body["metadata"]["annotations"] = {LAST_APPLIED: text}
    await api.call("POST", api.claims, body, fieldManager="kubectl-client-side-apply")
    assert (await applied(api, at, _labels(a="2"), "other")).status == 409
    taken = await applied(api, at, _labels(a="2"), "kubectl")
    assert taken.status == 200, taken.body
    assert '"a":"2"' in taken.body["metadata"]["annotations"][LAST_APPLIED]
