"""Discovery, OpenAPI, version, health and reviews."""

import aiohttp

from tests.contract.conftest import Api, Server


async def test_kinds_can_be_found(api: Api) -> None:
    """Discovery has names, short names, verbs and subresources."""
    core = await api.get("/api/v1")
    assert core["groupVersion"] == "v1"
    found = {each["name"]: each for each in core["resources"]}
    claims = found["persistentvolumeclaims"]
    assert (claims["kind"], claims["namespaced"]) == ("PersistentVolumeClaim", True)
    assert "pvc" in claims["shortNames"]
    assert {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"} <= set(claims["verbs"])
    assert {"persistentvolumeclaims/status", "pods/binding", "namespaces/finalize"} <= set(found)
    apps = {each["name"]: each for each in (await api.get("/apis/apps/v1"))["resources"]}
    assert (apps["statefulsets/scale"]["kind"], apps["statefulsets/scale"]["group"]) == ("Scale", "autoscaling")


async def test_groups_can_be_found(api: Api) -> None:
    """Every group has its preferred version."""
    assert "v1" in (await api.get("/api"))["versions"]
    groups = {each["name"]: each for each in (await api.get("/apis"))["groups"]}
    assert {"apps", "storage.k8s.io", "coordination.k8s.io"} <= set(groups)
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert (await api.get("/apis/apps"))["kind"] == "APIGroup"


async def test_the_server_has_a_version(api: Api) -> None:
    """The response of /version has a Kubernetes version."""
    assert (await api.get("/version"))["gitVersion"].startswith("v1.")


async def test_only_health_checks_need_no_token(server: Server) -> None:
    """A request with a wrong token is Unauthorized; health checks need no token."""
    async with aiohttp.ClientSession() as session:
        wrong = {"Authorization": "Bearer wrong"}
        async with session.get(f"{server.url}/api/v1/nodes", headers=wrong, ssl=server.tls) as answer:
            assert answer.status == 401
            assert (await answer.json())["reason"] == "Unauthorized"
        for path in ("/healthz", "/livez", "/readyz"):
            async with session.get(server.url + path, ssl=server.tls) as answer:
                assert (answer.status, await answer.text()) == (200, "ok")


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_discovery_can_be_aggregated(api: Api) -> None:
    """A client that accepts it gets all groups, versions and resources in two responses; others get the lists."""
    core = (await api.call("GET", "/api", accept=f"{AGGREGATED},application/json")).body
    assert (core["kind"], core["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    (group,) = core["items"]
    (version,) = group["versions"]
    assert (version["version"], version["freshness"]) == ("v1", "Current")
    claims = next(each for each in version["resources"] if each["resource"] == "persistentvolumeclaims")
    assert claims["responseKind"]["kind"] == "PersistentVolumeClaim"
    assert (claims["scope"], claims["singularResource"]) == ("Namespaced", "persistentvolumeclaim")
    assert "status" in {each["subresource"] for each in claims["subresources"]}
    others = (await api.call("GET", "/apis", accept=AGGREGATED)).body
    apps = next(each for each in others["items"] if each["metadata"]["name"] == "apps")
    sets = next(each for each in apps["versions"][0]["resources"] if each["resource"] == "statefulsets")
    scale = next(each for each in sets["subresources"] if each["subresource"] == "scale")
    assert scale["responseKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    plain = (await api.call("GET", "/apis", accept="application/json")).body
    assert plain["kind"] == "APIGroupList"


async def test_the_fields_of_a_kind_are_described(api: Api) -> None:
    """In OpenAPI v3 a claim's schema has its group, version and kind, and its PATCH has fieldValidation."""
    paths = (await api.get("/openapi/v3"))["paths"]
    url, _, query = paths["api/v1"]["serverRelativeURL"].partition("?")
    document = await api.get(url, **dict([query.split("=", 1)] if query else []))
    schema = document["components"]["schemas"]["io.k8s.api.core.v1.PersistentVolumeClaim"]
    identity = {"group": "", "version": "v1", "kind": "PersistentVolumeClaim"}
    assert identity in schema["x-kubernetes-group-version-kind"]
    containers = document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert (containers["type"], containers["x-kubernetes-list-map-keys"]) == ("array", ["name"])
    patch = document["paths"]["/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"]["patch"]
    assert "fieldValidation" in {each["name"] for each in patch["parameters"] if "name" in each}


async def test_a_client_can_review_its_rights(api: Api) -> None:
    """A client with all rights gets them, and its user name, from the reviews."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": api.namespace, "verb": "create", "resource": "pods"}},
    }
    answer = await api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert (answer.status, answer.body["status"]["allowed"]) == (201, True)
    assert answer.body["spec"] == review["spec"]
    who = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await api.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", who)
    assert answer.status == 201
    assert answer.body["status"]["userInfo"]["username"]
