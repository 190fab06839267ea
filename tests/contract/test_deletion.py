"""Deletion of objects."""

from tests.contract.conftest import JSON_PATCH, MERGE, Api, Json, claim, pod, stateful_set


async def test_an_object_without_finalizers_is_deleted_at_once(api: Api) -> None:
    """A StatefulSet without finalizers no longer exists after its DELETE; the response has its uid."""
    created = await api.create(api.sets, stateful_set())
    answer = await api.call("DELETE", f"{api.sets}/web")
    assert (answer.status, answer.body["status"]) == (200, "Success")
    assert answer.body["details"]["uid"] == created["metadata"]["uid"]
    assert (await api.call("DELETE", f"{api.sets}/web")).status == 404


async def test_an_object_with_a_finalizer_is_only_marked(api: Api) -> None:
    """A claim has a deletionTimestamp until its last finalizer is removed; a second DELETE changes nothing."""
    await api.create(api.claims, claim())
    path = f"{api.claims}/www"
    answer = await api.call("DELETE", path)
    assert answer.status == 200
    assert answer.body["metadata"]["deletionTimestamp"]
    again = await api.call("DELETE", path)
    assert again.body["metadata"]["resourceVersion"] == answer.body["metadata"]["resourceVersion"]
    patch = {"metadata": {"finalizers": ["kubernetes.io/pvc-protection", "example.dev/late"]}}
    late = await api.call("PATCH", path, patch, content=MERGE)
    assert (late.status, late.reason) == (422, "Invalid")
    assert "no new finalizers can be added" in late.message
    remove = [{"op": "remove", "path": "/metadata/finalizers"}]
    assert (await api.call("PATCH", path, remove, content=JSON_PATCH)).status == 200
    assert (await api.call("GET", path)).status == 404


async def test_a_deletion_cannot_be_reverted(api: Api) -> None:
    """No write removes the deletionTimestamp."""
    await api.create(api.claims, claim())
    path = f"{api.claims}/www"
    await api.call("DELETE", path)
    found = await api.get(path)
    when = found["metadata"].pop("deletionTimestamp")
    await api.call("PUT", path, found)
    assert (await api.get(path))["metadata"]["deletionTimestamp"] == when


async def test_preconditions_protect_another_object(api: Api) -> None:
    """A DELETE with a precondition on another uid or version is refused with Conflict."""
    created = await api.create(api.claims, claim())
    path = f"{api.claims}/www"
    for wrong in ({"uid": "00000000-0000-0000-0000-000000000000"}, {"resourceVersion": "1"}):
        answer = await api.call("DELETE", path, {"preconditions": wrong})
        assert (answer.status, answer.reason) == (409, "Conflict")
    right = {"uid": created["metadata"]["uid"], "resourceVersion": created["metadata"]["resourceVersion"]}
    assert (await api.call("DELETE", path, {"preconditions": right})).status == 200


async def _bound_pod(api: Api) -> str:
    await api.create(api.pods, pod())
    path = f"{api.pods}/web-0"
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web-0"}, "target": {"name": "n1"}}
    assert (await api.call("POST", f"{path}/binding", binding)).status == 201
    return path


async def test_a_bound_pod_has_a_grace_period(api: Api) -> None:
    """A bound pod exists until kubelet deletes it; its grace period may be shortened to zero but not extended."""
    path = await _bound_pod(api)
    answer = await api.call("DELETE", path)
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 30
    longer = await api.call("DELETE", path, {"gracePeriodSeconds": 60})
    assert longer.body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api.call("GET", path)).status == 200
    assert (await api.call("DELETE", path, {"gracePeriodSeconds": 0})).status == 200
    assert (await api.call("GET", path)).status == 404


async def test_an_unbound_pod_is_deleted_at_once(api: Api) -> None:
    """A pod without a node has no grace period, since no kubelet has to stop it."""
    await api.create(api.pods, pod())
    assert (await api.call("DELETE", f"{api.pods}/web-0")).status == 200
    assert (await api.call("GET", f"{api.pods}/web-0")).status == 404


async def test_orphan_and_foreground_set_a_finalizer_for_the_garbage_collector(api: Api) -> None:
    """Both propagation policies set the garbage collector's finalizer on the object."""
    for policy, finalizer in (("Orphan", "orphan"), ("Foreground", "foregroundDeletion")):
        await api.create(api.sets, stateful_set(policy.lower()))
        path = f"{api.sets}/{policy.lower()}"
        answer = await api.call("DELETE", path, {"propagationPolicy": policy})
        assert answer.body["metadata"]["finalizers"] == [finalizer]
        assert answer.body["metadata"]["deletionTimestamp"]


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    """Only objects that match the selector are deleted."""
    for name, tier in (("a", "front"), ("b", "back"), ("c", "front")):
        body = stateful_set(name)
        body["metadata"]["labels"] = {"tier": tier}
        await api.create(api.sets, body)
    assert (await api.call("DELETE", api.sets, labelSelector="tier=front")).status == 200
    assert [item["metadata"]["name"] for item in (await api.get(api.sets))["items"]] == ["b"]


async def test_a_protected_volume_is_only_marked(api: Api, volume: Json) -> None:
    """A deleted PersistentVolume exists until its protection finalizer is removed."""
    answer = await api.call("DELETE", f"{api.volumes}/{volume['metadata']['name']}")
    assert answer.body["metadata"]["deletionTimestamp"]
