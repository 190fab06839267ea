"""Formats of request bodies."""

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


async def test_an_object_can_be_sent_as_yaml(api: Api) -> None:
    """An object in YAML is the same as in JSON."""
    answer = await api.call("POST", api.claims, YAML, content="application/yaml")
    assert answer.status == 201
    assert answer.body["spec"]["resources"]["requests"]["storage"] == "1Gi"


async def test_an_object_without_a_media_type_is_json(api: Api) -> None:
    """A body without Content-Type is read as JSON, as kubectl sends a Scale."""
    await api.create(api.sets, stateful_set())
    scale = await api.get(f"{api.sets}/web/scale")
    scale["spec"]["replicas"] = 5
    answer = await api.call("PUT", f"{api.sets}/web/scale", scale, content="")
    assert (answer.status, answer.body["spec"]["replicas"]) == (200, 5)


async def test_a_namespace_can_be_sent_as_protobuf(api: Api) -> None:
    """A namespace in protobuf, as kubectl creates it, is accepted; a client that accepts JSON gets JSON."""
    labels = field(11, field(1, "shop") + field(2, "yes"))
    body = field(1, field(1, f"{api.namespace}-b") + field(8, b"") + labels) + field(2, b"") + field(3, b"")
    path = "/api/v1/namespaces"
    answer = await api.call(
        "POST", path, enveloped("v1", "Namespace", body), content=PROTOBUF, accept="application/json", dryRun="All"
    )
    assert answer.status == 201, answer.body
    assert answer.body["metadata"]["labels"]["shop"] == "yes"


async def test_delete_options_can_be_sent_as_protobuf(api: Api) -> None:
    """A precondition in DeleteOptions in protobuf is checked."""
    await api.create(api.claims, claim())
    wrong = field(2, field(1, "00000000-0000-0000-0000-000000000000"))
    path = f"{api.claims}/www"
    options = enveloped("v1", "DeleteOptions", wrong)
    answer = await api.call("DELETE", path, options, content=PROTOBUF, accept="application/json")
    assert (answer.status, answer.reason) == (409, "Conflict")


async def test_an_unknown_media_type_is_refused(api: Api) -> None:
    """A body of an unknown media type is refused with 415."""
    answer = await api.call("POST", api.claims, claim(), content="text/plain")
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")


async def test_an_unsupported_accept_header_is_refused(api: Api) -> None:
    """A client that accepts none of the server's media types gets a 406."""
    answer = await api.call("GET", api.claims, accept="text/csv")
    assert (answer.status, answer.reason) == (406, "NotAcceptable")
    assert (await api.call("GET", api.claims, accept="text/csv, */*;q=0.1")).status == 200


async def test_a_dry_run_writes_nothing(api: Api) -> None:
    """With dryRun, create, replace, patch and delete return their result and store nothing."""
    tried = await api.call("POST", api.claims, claim(), dryRun="All")
    assert (tried.status, bool(tried.body["metadata"]["uid"])) == (201, True)
    assert (await api.call("GET", f"{api.claims}/www")).status == 404
    created = await api.create(api.claims, claim())
    path = f"{api.claims}/www"
    patched = await api.call("PATCH", path, {"metadata": {"labels": {"a": "1"}}}, content=MERGE, dryRun="All")
    assert patched.body["metadata"]["labels"] == {"a": "1"}
    changed = {**created, "metadata": {**created["metadata"], "labels": {"b": "1"}}}
    replaced = await api.call("PUT", path, changed, dryRun="All")
    assert replaced.body["metadata"]["labels"] == {"b": "1"}
    assert (await api.call("DELETE", path, dryRun="All")).status == 200
    assert await api.get(path) == created
