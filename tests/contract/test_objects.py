"""How objects are made, read and changed."""

import pytest

from tests.contract.conftest import MERGE, Api, Json, claim, pod, stateful_set


async def test_a_new_object_gets_what_only_the_server_knows(api: Api) -> None:
    """A new object has a uid, a time, a version, its namespace, its first phase and its protection."""
    body = claim()
    body["metadata"] |= {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z"}
    body["status"] = {"phase": "Bound"}
    made = await api.made(api.claims, body)
    metadata = made["metadata"]
    assert metadata["uid"] not in ("", "mine")
    assert not metadata["creationTimestamp"].startswith("2000")
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["namespace"] == api.namespace
    assert metadata["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert made["status"]["phase"] == "Pending"
    assert made["spec"]["volumeMode"] == "Filesystem"
    assert await api.got(f"{api.claims}/www") == made


async def test_a_name_is_taken_once(api: Api) -> None:
    """A second object of the same name is refused with AlreadyExists."""
    await api.made(api.claims, claim())
    answer = await api.call("POST", api.claims, claim())
    assert (answer.status, answer.reason) == (409, "AlreadyExists")
    assert answer.message == 'persistentvolumeclaims "www" already exists'
    assert answer.body["details"] == {"name": "www", "kind": "persistentvolumeclaims"}


async def test_a_missing_object_is_a_status(api: Api) -> None:
    """What is not there is answered with a NotFound that names resource, group and name."""
    answer = await api.call("GET", f"{api.sets}/web")
    assert (answer.status, answer.reason) == (404, "NotFound")
    assert answer.message == 'statefulsets.apps "web" not found'
    assert answer.body["kind"] == "Status"
    assert answer.body["status"] == "Failure"
    assert answer.body["details"] == {"name": "web", "group": "apps", "kind": "statefulsets"}


async def test_a_generated_name_starts_as_asked(api: Api) -> None:
    """With generateName the server appends five characters."""
    body = claim()
    body["metadata"] = {"generateName": "data-"}
    names = {(await api.made(api.claims, body))["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("data-") and len(name) == 10 for name in names)


async def test_quantities_are_written_in_canonical_form(api: Api) -> None:
    """1024Mi is stored as 1Gi."""
    made = await api.made(api.claims, claim(size="1024Mi"))
    assert made["spec"]["resources"]["requests"]["storage"] == "1Gi"


async def test_a_namespace_must_exist(api: Api) -> None:
    """An object in a namespace that does not exist is refused with the namespace's NotFound."""
    answer = await api.call("POST", "/api/v1/namespaces/nowhere/persistentvolumeclaims", claim())
    assert (answer.status, answer.message) == (404, 'namespaces "nowhere" not found')


async def test_nothing_new_in_a_namespace_that_goes(api: Api) -> None:
    """A namespace that is being deleted takes no new objects and says Terminating."""
    await api.call("DELETE", f"/api/v1/namespaces/{api.namespace}")
    found = await api.got(f"/api/v1/namespaces/{api.namespace}")
    assert found["status"]["phase"] == "Terminating"
    answer = await api.call("POST", api.claims, claim())
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert "because it is being terminated" in answer.message


async def test_a_stale_write_conflicts(api: Api) -> None:
    """A write that carries an old resourceVersion is refused with Conflict, one without it is not."""
    made = await api.made(api.claims, claim())
    at = f"{api.claims}/www"
    await api.patched(at, {"metadata": {"labels": {"a": "1"}}})
    stale = made["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": stale, "labels": {"b": "2"}}}
    refused = await api.call("PATCH", at, patch, content=MERGE)
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert refused.message.startswith('Operation cannot be fulfilled on persistentvolumeclaims "www": ')
    assert (await api.call("PUT", at, made)).status == 409
    del made["metadata"]["resourceVersion"]
    assert (await api.call("PUT", at, made)).status == 200


async def test_another_uid_conflicts(api: Api) -> None:
    """A whole object meant for an earlier one of its name is refused with Conflict; a patch cannot give another uid."""
    made = await api.made(api.claims, claim())
    made["metadata"] |= {"uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": ""}
    answer = await api.call("PUT", f"{api.claims}/www", made)
    assert (answer.status, answer.reason) == (409, "Conflict")
    patch = {"metadata": {"uid": made["metadata"]["uid"]}}
    answer = await api.call("PATCH", f"{api.claims}/www", patch, content=MERGE)
    assert (answer.status, answer.body["details"]["causes"][0]["field"]) == (422, "metadata.uid")


async def test_a_new_object_has_no_version_yet(api: Api) -> None:
    """A create that brings a resourceVersion is refused."""
    body = claim()
    body["metadata"]["resourceVersion"] = "1"
    answer = await api.call("POST", api.claims, body)
    assert (answer.status, answer.message) == (500, "resourceVersion should not be set on objects to be created")


async def test_a_change_of_nothing_is_no_change(api: Api) -> None:
    """Writing an object as it stands gives no new resourceVersion."""
    made = await api.made(api.sets, stateful_set())
    same = await api.patched(f"{api.sets}/web", {"spec": {"podManagementPolicy": "OrderedReady"}})
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_status_and_the_rest_are_written_apart(api: Api) -> None:
    """The main path keeps the status, the status path keeps the spec and may change labels."""
    made = await api.made(api.claims, claim())
    at = f"{api.claims}/www"
    assert (await api.patched(at, {"status": {"phase": "Bound"}}))["status"]["phase"] == "Pending"
    patch = {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Lost"}, "spec": {"volumeName": "x"}}
    changed = await api.patched(f"{at}/status", patch)
    assert changed["status"]["phase"] == "Lost"
    assert changed["spec"] == made["spec"]
    assert changed["metadata"]["labels"] == {"a": "b"}


async def test_generation_counts_changes_of_the_spec(api: Api) -> None:
    """A set's generation rises with its spec and with nothing else."""
    at = f"{api.sets}/web"
    assert (await api.made(api.sets, stateful_set()))["metadata"]["generation"] == 1
    assert (await api.patched(at, {"metadata": {"labels": {"a": "b"}}}))["metadata"]["generation"] == 1
    assert (await api.patched(f"{at}/status", {"status": {"replicas": 1}}))["metadata"]["generation"] == 1
    assert (await api.patched(at, {"spec": {"replicas": 2}}))["metadata"]["generation"] == 2


async def test_a_set_gets_its_defaults(api: Api) -> None:
    """A set has one replica, ordered, with claims that stay."""
    spec = (await api.made(api.sets, stateful_set()))["spec"]
    assert spec["replicas"] == 1
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["revisionHistoryLimit"] == 10


async def test_volume_and_class_get_their_defaults(volume: Json, storage_class: Json) -> None:
    """A volume is retained and protected; a class deletes and binds at once."""
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["volumeMode"] == "Filesystem"
    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert storage_class["reclaimPolicy"] == "Delete"
    assert storage_class["volumeBindingMode"] == "Immediate"


async def test_scale_is_a_small_face_of_a_set(api: Api) -> None:
    """Scale shows and changes the replicas and nothing else."""
    await api.made(api.sets, stateful_set())
    at = f"{api.sets}/web/scale"
    shown = await api.got(at)
    assert (shown["apiVersion"], shown["kind"], shown["spec"]) == ("autoscaling/v1", "Scale", {"replicas": 1})
    assert shown["status"]["selector"] == "app=nginx"
    assert (await api.patched(at, {"spec": {"replicas": 3}}))["spec"]["replicas"] == 3
    assert (await api.got(f"{api.sets}/web"))["spec"]["replicas"] == 3
    shown = await api.got(at)
    shown["spec"]["replicas"] = 0
    assert (await api.call("PUT", at, shown)).status == 200
    assert (await api.got(f"{api.sets}/web"))["spec"]["replicas"] == 0


async def test_a_pod_is_bound_once(api: Api) -> None:
    """A binding sets the pod's node; a second one conflicts, and a patch may not set it at all."""
    await api.made(api.pods, pod())
    at = f"{api.pods}/web-0"
    refused = await api.call("PATCH", at, {"spec": {"nodeName": "n"}}, content=MERGE)
    assert (refused.status, refused.reason) == (422, "Invalid")
    binding: Json = {"metadata": {"name": "web-0"}, "target": {"kind": "Node", "name": "n1"}}
    binding |= {"apiVersion": "v1", "kind": "Binding"}
    assert (await api.call("POST", f"{at}/binding", binding)).status == 201
    bound = await api.got(at)
    assert bound["spec"]["nodeName"] == "n1"
    assert {"type": "PodScheduled", "status": "True"}.items() <= bound["status"]["conditions"][0].items()
    assert (await api.call("POST", f"{at}/binding", binding)).status == 409


async def test_dry_run_writes_nothing(api: Api) -> None:
    """A dry run answers as if it had written."""
    answer = await api.call("POST", api.claims, claim(), dryRun="All")
    assert answer.status == 201
    assert (await api.call("GET", f"{api.claims}/www")).status == 404


async def test_the_default_class_is_given_to_new_claims(api: Api, storage_class: Json) -> None:
    """A claim that names no class gets the default one; the empty class is kept."""
    name = storage_class["metadata"]["name"]
    annotation = {"storageclass.kubernetes.io/is-default-class": "true"}
    await api.patched(f"{api.classes}/{name}", {"metadata": {"annotations": annotation}})
    without = claim("without")
    del without["spec"]["storageClassName"]
    assert (await api.made(api.claims, without))["spec"]["storageClassName"] == name
    assert (await api.made(api.claims, claim("empty")))["spec"]["storageClassName"] == ""


@pytest.mark.parametrize("path", ["/api/v1/nothings", "/apis/apps/v1/things"])
async def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    """A path that is not served is answered with a NotFound."""
    answer = await api.call("GET", path)
    assert answer.status == 404
