"""Creating, reading and updating objects."""

import pytest

from tests.contract.conftest import MERGE, Api, Json, claim, pod, stateful_set


async def test_a_new_object_gets_the_fields_that_the_server_sets(api: Api) -> None:
    """A new object gets a uid, a time, a version, its namespace, its first phase and its protection finalizer."""
    body = claim()
    body["metadata"] |= {"uid": "chosen", "creationTimestamp": "2000-01-01T00:00:00Z"}
    body["status"] = {"phase": "Bound"}
    created = await api.create(api.claims, body)
    metadata = created["metadata"]
    assert metadata["uid"] not in ("", "chosen")
    assert not metadata["creationTimestamp"].startswith("2000")
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["namespace"] == api.namespace
    assert metadata["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert created["status"]["phase"] == "Pending"
    assert created["spec"]["volumeMode"] == "Filesystem"
    assert await api.get(f"{api.claims}/www") == created


async def test_a_name_is_unique(api: Api) -> None:
    """A second object of the same name is refused with AlreadyExists."""
    await api.create(api.claims, claim())
    answer = await api.call("POST", api.claims, claim())
    assert (answer.status, answer.reason) == (409, "AlreadyExists")
    assert answer.message == 'persistentvolumeclaims "www" already exists'
    assert answer.body["details"] == {"name": "www", "kind": "persistentvolumeclaims"}


async def test_a_missing_object_is_not_found(api: Api) -> None:
    """A missing object gets a NotFound that names resource, group and name."""
    answer = await api.call("GET", f"{api.sets}/web")
    assert (answer.status, answer.reason) == (404, "NotFound")
    assert answer.message == 'statefulsets.apps "web" not found'
    assert answer.body["kind"] == "Status"
    assert answer.body["status"] == "Failure"
    assert answer.body["details"] == {"name": "web", "group": "apps", "kind": "statefulsets"}


async def test_a_generated_name_starts_with_generate_name(api: Api) -> None:
    """The server appends five characters to generateName."""
    body = claim()
    body["metadata"] = {"generateName": "data-"}
    names = {(await api.create(api.claims, body))["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("data-") and len(name) == 10 for name in names)


async def test_quantities_are_written_in_canonical_form(api: Api) -> None:
    """1024Mi is stored as 1Gi."""
    created = await api.create(api.claims, claim(size="1024Mi"))
    assert created["spec"]["resources"]["requests"]["storage"] == "1Gi"


async def test_a_namespace_must_exist(api: Api) -> None:
    """An object in a missing namespace is refused with a NotFound of the namespace."""
    answer = await api.call("POST", "/api/v1/namespaces/nowhere/persistentvolumeclaims", claim())
    assert (answer.status, answer.message) == (404, 'namespaces "nowhere" not found')


async def test_a_terminating_namespace_refuses_new_objects(api: Api) -> None:
    """A namespace that is being deleted is Terminating, and no objects can be created in it."""
    await api.call("DELETE", f"/api/v1/namespaces/{api.namespace}")
    found = await api.get(f"/api/v1/namespaces/{api.namespace}")
    assert found["status"]["phase"] == "Terminating"
    answer = await api.call("POST", api.claims, claim())
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert "because it is being terminated" in answer.message


async def test_a_stale_write_conflicts(api: Api) -> None:
    """A write with an old resourceVersion is refused with Conflict, one without a resourceVersion is not."""
    created = await api.create(api.claims, claim())
    path = f"{api.claims}/www"
    await api.patch(path, {"metadata": {"labels": {"a": "1"}}})
    stale = created["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": stale, "labels": {"b": "2"}}}
    refused = await api.call("PATCH", path, patch, content=MERGE)
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert refused.message.startswith('Operation cannot be fulfilled on persistentvolumeclaims "www": ')
    assert (await api.call("PUT", path, created)).status == 409
    del created["metadata"]["resourceVersion"]
    assert (await api.call("PUT", path, created)).status == 200


async def test_another_uid_conflicts(api: Api) -> None:
    """A PUT with another uid is refused with Conflict; a patch cannot set another uid."""
    created = await api.create(api.claims, claim())
    created["metadata"] |= {"uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": ""}
    answer = await api.call("PUT", f"{api.claims}/www", created)
    assert (answer.status, answer.reason) == (409, "Conflict")
    patch = {"metadata": {"uid": created["metadata"]["uid"]}}
    answer = await api.call("PATCH", f"{api.claims}/www", patch, content=MERGE)
    assert (answer.status, answer.body["details"]["causes"][0]["field"]) == (422, "metadata.uid")


async def test_a_create_has_no_resource_version(api: Api) -> None:
    """A create with a resourceVersion is refused."""
    body = claim()
    body["metadata"]["resourceVersion"] = "1"
    answer = await api.call("POST", api.claims, body)
    assert (answer.status, answer.message) == (500, "resourceVersion should not be set on objects to be created")


async def test_an_update_without_a_change_writes_nothing(api: Api) -> None:
    """An update that changes nothing gives no new resourceVersion."""
    created = await api.create(api.sets, stateful_set())
    same = await api.patch(f"{api.sets}/web", {"spec": {"podManagementPolicy": "OrderedReady"}})
    assert same["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_status_is_written_only_through_its_subresource(api: Api) -> None:
    """A write through the main path keeps the status; one through status keeps the spec and may change labels."""
    created = await api.create(api.claims, claim())
    path = f"{api.claims}/www"
    assert (await api.patch(path, {"status": {"phase": "Bound"}}))["status"]["phase"] == "Pending"
    patch = {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Lost"}, "spec": {"volumeName": "x"}}
    changed = await api.patch(f"{path}/status", patch)
    assert changed["status"]["phase"] == "Lost"
    assert changed["spec"] == created["spec"]
    assert changed["metadata"]["labels"] == {"a": "b"}


async def test_the_generation_counts_changes_of_the_spec(api: Api) -> None:
    """A StatefulSet's generation increases only with changes of its spec."""
    path = f"{api.sets}/web"
    assert (await api.create(api.sets, stateful_set()))["metadata"]["generation"] == 1
    assert (await api.patch(path, {"metadata": {"labels": {"a": "b"}}}))["metadata"]["generation"] == 1
    assert (await api.patch(f"{path}/status", {"status": {"replicas": 1}}))["metadata"]["generation"] == 1
    assert (await api.patch(path, {"spec": {"replicas": 2}}))["metadata"]["generation"] == 2


async def test_a_set_gets_its_defaults(api: Api) -> None:
    """A StatefulSet defaults to one replica, ordered pods and retained claims."""
    spec = (await api.create(api.sets, stateful_set()))["spec"]
    assert spec["replicas"] == 1
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["revisionHistoryLimit"] == 10


async def test_volume_and_class_get_their_defaults(volume: Json, storage_class: Json) -> None:
    """A PersistentVolume defaults to Retain and is protected; a class defaults to Delete and Immediate."""
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["volumeMode"] == "Filesystem"
    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert storage_class["reclaimPolicy"] == "Delete"
    assert storage_class["volumeBindingMode"] == "Immediate"


async def test_scale_has_only_the_replicas_of_a_set(api: Api) -> None:
    """Scale returns and changes the replicas and nothing else."""
    await api.create(api.sets, stateful_set())
    path = f"{api.sets}/web/scale"
    scale = await api.get(path)
    assert (scale["apiVersion"], scale["kind"], scale["spec"]) == ("autoscaling/v1", "Scale", {"replicas": 1})
    assert scale["status"]["selector"] == "app=nginx"
    assert (await api.patch(path, {"spec": {"replicas": 3}}))["spec"]["replicas"] == 3
    assert (await api.get(f"{api.sets}/web"))["spec"]["replicas"] == 3
    scale = await api.get(path)
    scale["spec"]["replicas"] = 0
    assert (await api.call("PUT", path, scale)).status == 200
    assert (await api.get(f"{api.sets}/web"))["spec"]["replicas"] == 0


async def test_a_pod_is_bound_once(api: Api) -> None:
    """A binding sets the pod's node; a second one conflicts, and a patch cannot set the node."""
    await api.create(api.pods, pod())
    path = f"{api.pods}/web-0"
    refused = await api.call("PATCH", path, {"spec": {"nodeName": "n"}}, content=MERGE)
    assert (refused.status, refused.reason) == (422, "Invalid")
    binding: Json = {"metadata": {"name": "web-0"}, "target": {"kind": "Node", "name": "n1"}}
    binding |= {"apiVersion": "v1", "kind": "Binding"}
    assert (await api.call("POST", f"{path}/binding", binding)).status == 201
    bound = await api.get(path)
    assert bound["spec"]["nodeName"] == "n1"
    assert {"type": "PodScheduled", "status": "True"}.items() <= bound["status"]["conditions"][0].items()
    assert (await api.call("POST", f"{path}/binding", binding)).status == 409


async def test_dry_run_writes_nothing(api: Api) -> None:
    """A dry run returns the object and stores nothing."""
    answer = await api.call("POST", api.claims, claim(), dryRun="All")
    assert answer.status == 201
    assert (await api.call("GET", f"{api.claims}/www")).status == 404


async def test_new_claims_get_the_default_class(api: Api, storage_class: Json) -> None:
    """A claim without a class gets the default class; an empty class stays empty."""
    name = storage_class["metadata"]["name"]
    annotation = {"storageclass.kubernetes.io/is-default-class": "true"}
    await api.patch(f"{api.classes}/{name}", {"metadata": {"annotations": annotation}})
    without = claim("without")
    del without["spec"]["storageClassName"]
    assert (await api.create(api.claims, without))["spec"]["storageClassName"] == name
    assert (await api.create(api.claims, claim("empty")))["spec"]["storageClassName"] == ""


@pytest.mark.parametrize("path", ["/api/v1/nothings", "/apis/apps/v1/things"])
async def test_an_unknown_path_is_not_found(api: Api, path: str) -> None:
    """A path that is not served gets a NotFound."""
    answer = await api.call("GET", path)
    assert answer.status == 404
