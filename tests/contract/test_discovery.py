"""What a client finds out before it asks for objects."""

import aiohttp

from tests.contract.conftest import Api, Server


async def test_kinds_can_be_found(api: Api) -> None:
    """Discovery tells names, short names, verbs and subresources."""
    core = await api.got("/api/v1")
    assert core["groupVersion"] == "v1"
    found = {each["name"]: each for each in core["resources"]}
    claims = found["persistentvolumeclaims"]
    assert (claims["kind"], claims["namespaced"]) == ("PersistentVolumeClaim", True)
    assert "pvc" in claims["shortNames"]
    assert {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"} <= set(claims["verbs"])
    assert {"persistentvolumeclaims/status", "pods/binding", "namespaces/finalize"} <= set(found)
    apps = {each["name"]: each for each in (await api.got("/apis/apps/v1"))["resources"]}
    assert (apps["statefulsets/scale"]["kind"], apps["statefulsets/scale"]["group"]) == ("Scale", "autoscaling")


async def test_groups_can_be_found(api: Api) -> None:
    """Every group names its preferred version."""
    assert "v1" in (await api.got("/api"))["versions"]
    groups = {each["name"]: each for each in (await api.got("/apis"))["groups"]}
    assert {"apps", "storage.k8s.io", "coordination.k8s.io"} <= set(groups)
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert (await api.got("/apis/apps"))["kind"] == "APIGroup"


async def test_the_version_is_told(api: Api) -> None:
    """The version is a Kubernetes version."""
    assert (await api.got("/version"))["gitVersion"].startswith("v1.")


async def test_without_a_token_only_health_is_told(server: Server) -> None:
    """A request with another token is Unauthorized; health needs none."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/api/v1/nodes", headers={"Authorization": "Bearer wrong"}) as answer:
            assert answer.status == 401
            assert (await answer.json())["reason"] == "Unauthorized"
        for path in ("/healthz", "/livez", "/readyz"):
            async with session.get(server.url + path) as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
