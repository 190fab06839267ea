"""The life of a StatefulSet with real pods, on both backends."""

from typing import Any

import pytest

from tests.cluster.running import Running
from tests.cluster.sets import bound, delete_now, hosts, placed, rolled_out, web
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(900)]

EACH = {"web-0": "web-0", "web-1": "web-1"}
Json = dict[str, Any]


def _pod(cluster: Running, namespace: str, name: str) -> Json:
    found: Json = cluster.json("-n", namespace, "get", "pod", name)
    return found


def _ready_since(pod: Json) -> str:
    [since] = [each["lastTransitionTime"] for each in pod["status"]["conditions"] if each["type"] == "Ready"]
    return str(since)


def _uids(cluster: Running, namespace: str) -> dict[str, str]:
    claims = cluster.json("-n", namespace, "get", "pvc")["items"]
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in claims}


def _address(cluster: Running, namespace: str, name: str) -> None:
    """Check that the pod's name resolves to its address inside another pod."""
    expected = _pod(cluster, namespace, name)["status"]["podIP"]
    look = f"nslookup {name}.nginx.{namespace}.svc.cluster.local"
    until(lambda: expected in cluster.shell(namespace, "web-1", f"{look} || true"), f"{name}.nginx is {expected}")


@pytest.mark.parametrize("backend", ["mooring-directory", "mooring-loop"])
def test_every_ordinal_keeps_its_volume(mooring: Running, namespace: str, backend: str) -> None:
    """Through ordered start, deleted pods, scaling, and a set that is applied again after it and its claims were deleted."""
    objects = web(backend)
    mooring.apply(namespace, *objects)
    rolled_out(mooring, namespace)

    first, second = _pod(mooring, namespace, "web-0"), _pod(mooring, namespace, "web-1")
    assert _ready_since(first) <= second["metadata"]["creationTimestamp"]
    uids = _uids(mooring, namespace)
    volumes = {name: f"pvc-{uid}" for name, uid in uids.items()}
    assert volumes.keys() == {"www-web-0", "www-web-1"}
    assert volumes == bound(mooring, namespace)
    for line in mooring.kubectl("-n", namespace, "get", "pvc", "-l", "app=nginx", "--no-headers").splitlines():
        assert ["Bound", "1Gi", "RWO"] == [line.split()[column] for column in (1, 3, 4)], line
    assert hosts(mooring, namespace, 0, 1) == EACH
    _address(mooring, namespace, "web-0")
    nodes = placed(mooring, namespace)

    mooring.kubectl("-n", namespace, "delete", "pod", "web-0", "web-1")
    rolled_out(mooring, namespace)
    assert _pod(mooring, namespace, "web-0")["metadata"]["uid"] != first["metadata"]["uid"]
    assert hosts(mooring, namespace, 0, 1) == EACH
    _address(mooring, namespace, "web-0")

    mooring.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=1")
    mooring.kubectl("-n", namespace, "wait", "--for=delete", "pod/web-1", "--timeout=60s")
    assert volumes == bound(mooring, namespace)
    mooring.kubectl("-n", namespace, "scale", "statefulset/web", "--replicas=3")
    rolled_out(mooring, namespace)
    assert hosts(mooring, namespace, 0, 1, 2) == EACH | {"web-2": "web-2"}

    mooring.kubectl("-n", namespace, "delete", "statefulset/web")
    mooring.kubectl("-n", namespace, "wait", "--for=delete", "pod/web-0", "pod/web-1", "pod/web-2", "--timeout=60s")
    mooring.kubectl("-n", namespace, "delete", "pvc", "--all")
    mooring.apply(namespace, *objects)
    rolled_out(mooring, namespace)
    assert not set(_uids(mooring, namespace).values()) & set(uids.values())
    assert volumes == bound(mooring, namespace)
    assert nodes == placed(mooring, namespace)
    assert hosts(mooring, namespace, 0, 1) == EACH


@pytest.mark.parametrize("backend", ["mooring-directory", "mooring-loop"])
def test_a_claim_that_is_recreated_at_once_has_its_volume(mooring: Running, namespace: str, backend: str) -> None:
    """It is deleted with its pod while the set exists, so that the volume may never be seen as Released."""
    mooring.apply(namespace, *web(backend, podManagementPolicy="Parallel"))
    rolled_out(mooring, namespace)
    volumes = bound(mooring, namespace)
    for _ in range(3):
        before = set(_uids(mooring, namespace).values())
        delete_now(mooring, namespace, "pvc/www-web-0", "pvc/www-web-1", "pod/web-0", "pod/web-1")

        def are_new(before: set[str] = before) -> bool:
            return not set(_uids(mooring, namespace).values()) & before

        until(are_new, "the claims are new")
        until(lambda: bound(mooring, namespace) == volumes, "the claims have their volumes")
        rolled_out(mooring, namespace)
        assert hosts(mooring, namespace, 0, 1) == EACH
