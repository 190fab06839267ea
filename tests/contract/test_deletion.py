"""How objects end."""

from tests.contract.conftest import JSON_PATCH, MERGE, Api, Json, claim, pod, stateful_set


async def test_without_finalizers_an_object_goes_at_once(api: Api) -> None:
    """A set without finalizers is gone after its DELETE, and the answer says what it was."""
    made = await api.made(api.sets, stateful_set())
    answer = await api.call("DELETE", f"{api.sets}/web")
    assert (answer.status, answer.body["status"]) == (200, "Success")
    assert answer.body["details"]["uid"] == made["metadata"]["uid"]
    assert (await api.call("DELETE", f"{api.sets}/web")).status == 404


async def test_a_finalizer_keeps_an_object(api: Api) -> None:
    """A claim stays, marked, until its last finalizer goes; a second DELETE changes nothing."""
    await api.made(api.claims, claim())
    at = f"{api.claims}/www"
    answer = await api.call("DELETE", at)
    assert answer.status == 200
    assert answer.body["metadata"]["deletionTimestamp"]
    again = await api.call("DELETE", at)
    assert again.body["metadata"]["resourceVersion"] == answer.body["metadata"]["resourceVersion"]
    patch = {"metadata": {"finalizers": ["kubernetes.io/pvc-protection", "example.dev/late"]}}
    late = await api.call("PATCH", at, patch, content=MERGE)
    assert (late.status, late.reason) == (422, "Invalid")
    assert "no new finalizers can be added" in late.message
    remove = [{"op": "remove", "path": "/metadata/finalizers"}]
    assert (await api.call("PATCH", at, remove, content=JSON_PATCH)).status == 200
    assert (await api.call("GET", at)).status == 404


async def test_a_deletion_cannot_be_taken_back(api: Api) -> None:
    """Nothing removes the mark of a deletion."""
    await api.made(api.claims, claim())
    at = f"{api.claims}/www"
    await api.call("DELETE", at)
    found = await api.got(at)
    when = found["metadata"].pop("deletionTimestamp")
    await api.call("PUT", at, found)
    assert (await api.got(at))["metadata"]["deletionTimestamp"] == when


async def test_preconditions_protect_another_object(api: Api) -> None:
    """A DELETE meant for another uid or version is refused with Conflict."""
    made = await api.made(api.claims, claim())
    at = f"{api.claims}/www"
    for wrong in ({"uid": "00000000-0000-0000-0000-000000000000"}, {"resourceVersion": "1"}):
        answer = await api.call("DELETE", at, {"preconditions": wrong})
        assert (answer.status, answer.reason) == (409, "Conflict")
    right = {"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]}
    assert (await api.call("DELETE", at, {"preconditions": right})).status == 200


async def _bound_pod(api: Api) -> str:
    await api.made(api.pods, pod())
    at = f"{api.pods}/web-0"
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web-0"}, "target": {"name": "n1"}}
    assert (await api.call("POST", f"{at}/binding", binding)).status == 201
    return at


async def test_a_pod_on_a_node_waits_for_its_agent(api: Api) -> None:
    """A bound pod stays for its grace period, which may be shortened to nothing."""
    at = await _bound_pod(api)
    answer = await api.call("DELETE", at)
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 30
    longer = await api.call("DELETE", at, {"gracePeriodSeconds": 60})
    assert longer.body["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api.call("GET", at)).status == 200
    assert (await api.call("DELETE", at, {"gracePeriodSeconds": 0})).status == 200
    assert (await api.call("GET", at)).status == 404


async def test_a_pod_on_no_node_goes_at_once(api: Api) -> None:
    """Nobody has to stop a pod that runs nowhere."""
    await api.made(api.pods, pod())
    assert (await api.call("DELETE", f"{api.pods}/web-0")).status == 200
    assert (await api.call("GET", f"{api.pods}/web-0")).status == 404


async def test_orphan_and_foreground_leave_work_for_the_collector(api: Api) -> None:
    """Both propagation policies keep the object with a finalizer of their own."""
    for policy, finalizer in (("Orphan", "orphan"), ("Foreground", "foregroundDeletion")):
        await api.made(api.sets, stateful_set(policy.lower()))
        at = f"{api.sets}/{policy.lower()}"
        answer = await api.call("DELETE", at, {"propagationPolicy": policy})
        assert answer.body["metadata"]["finalizers"] == [finalizer]
        assert answer.body["metadata"]["deletionTimestamp"]


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    """Only what the selector chooses is deleted."""
    for name, tier in (("a", "front"), ("b", "back"), ("c", "front")):
        body = stateful_set(name)
        body["metadata"]["labels"] = {"tier": tier}
        await api.made(api.sets, body)
    assert (await api.call("DELETE", api.sets, labelSelector="tier=front")).status == 200
    assert [item["metadata"]["name"] for item in (await api.got(api.sets))["items"]] == ["b"]


async def test_a_volume_stays_while_protected(api: Api, volume: Json) -> None:
    """A deleted volume keeps its protection until someone takes it away."""
    answer = await api.call("DELETE", f"{api.volumes}/{volume['metadata']['name']}")
    assert answer.body["metadata"]["deletionTimestamp"]
