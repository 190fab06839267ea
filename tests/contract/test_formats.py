"""The forms in which a body may come."""

from tests.contract.conftest import MERGE, Api, claim, stateful_set
from tests.contract.wire import enveloped, field

PROTOBUF = "application/vnd.kubernetes.protobuf"

YAML = b"""
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: www}
spec:
  storageClassName: ""
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
"""


async def test_an_object_can_come_as_yaml(api: Api) -> None:
    """It is the same object as in JSON."""
    answer = await api.call("POST", api.claims, YAML, content="application/yaml")
    assert answer.status == 201
    assert answer.body["spec"]["resources"]["requests"]["storage"] == "1Gi"


async def test_an_object_without_a_media_type_is_json(api: Api) -> None:
    """As kubectl replaces a Scale."""
    await api.made(api.sets, stateful_set())
    scale = await api.got(f"{api.sets}/web/scale")
    scale["spec"]["replicas"] = 5
    answer = await api.call("PUT", f"{api.sets}/web/scale", scale, content="")
    assert (answer.status, answer.body["spec"]["replicas"]) == (200, 5)


async def test_a_namespace_can_come_as_protobuf(api: Api) -> None:
    """As kubectl makes one; whoever wants JSON gets it back as JSON."""
    labels = field(11, field(1, "shop") + field(2, "yes"))
    body = field(1, field(1, f"{api.namespace}-b") + field(8, b"") + labels) + field(2, b"") + field(3, b"")
    at = "/api/v1/namespaces"
    answer = await api.call(
        "POST", at, enveloped("v1", "Namespace", body), content=PROTOBUF, accept="application/json", dryRun="All"
    )
    assert answer.status == 201, answer.body
    assert answer.body["metadata"]["labels"]["shop"] == "yes"


async def test_a_deletion_can_be_told_in_protobuf(api: Api) -> None:
    """DeleteOptions, with a precondition that does not hold."""
    await api.made(api.claims, claim())
    wrong = field(2, field(1, "00000000-0000-0000-0000-000000000000"))
    at = f"{api.claims}/www"
    options = enveloped("v1", "DeleteOptions", wrong)
    answer = await api.call("DELETE", at, options, content=PROTOBUF, accept="application/json")
    assert (answer.status, answer.reason) == (409, "Conflict")


async def test_an_unknown_media_type_is_refused(api: Api) -> None:
    """415, whatever the body says."""
    answer = await api.call("POST", api.claims, claim(), content="text/plain")
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")


async def test_what_cannot_be_sent_is_not_acceptable(api: Api) -> None:
    """406 for a client that accepts nothing that the server speaks."""
    answer = await api.call("GET", api.claims, accept="text/csv")
    assert (answer.status, answer.reason) == (406, "NotAcceptable")
    assert (await api.call("GET", api.claims, accept="text/csv, */*;q=0.1")).status == 200


async def test_a_dry_run_writes_nothing(api: Api) -> None:
    """Create, replace, patch and delete answer as if they had been done."""
    tried = await api.call("POST", api.claims, claim(), dryRun="All")
    assert (tried.status, bool(tried.body["metadata"]["uid"])) == (201, True)
    assert (await api.call("GET", f"{api.claims}/www")).status == 404
    made = await api.made(api.claims, claim())
    at = f"{api.claims}/www"
    patched = await api.call("PATCH", at, {"metadata": {"labels": {"a": "1"}}}, content=MERGE, dryRun="All")
    assert patched.body["metadata"]["labels"] == {"a": "1"}
    changed = {**made, "metadata": {**made["metadata"], "labels": {"b": "1"}}}
    replaced = await api.call("PUT", at, changed, dryRun="All")
    assert replaced.body["metadata"]["labels"] == {"b": "1"}
    assert (await api.call("DELETE", at, dryRun="All")).status == 200
    assert await api.got(at) == made
