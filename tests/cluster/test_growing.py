"""Claims that are expanded while a pod writes."""

from collections.abc import Iterator

import pytest

from tests.cluster.running import Running
from tests.cluster.sets import apply_all, rolled_out, storage_class, web
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(600)]

XFS = {"backend": "loop", "csi.storage.k8s.io/fstype": "xfs", "adopt": "Ordinal"}
EXT4 = {"backend": "loop", "csi.storage.k8s.io/fstype": "ext4", "adopt": "Ordinal"}
CLASSES = [storage_class("test-xfs", **XFS), storage_class("test-ext4", **EXT4)]


@pytest.fixture(scope="module", autouse=True)
def classes(mooring: Running) -> Iterator[None]:
    """Create one class for each filesystem."""
    apply_all(mooring, *CLASSES)
    yield
    mooring.kubectl("delete", "storageclass", *(each["metadata"]["name"] for each in CLASSES))


def _grow(cluster: Running, namespace: str, size: str) -> None:
    patch = f'{{"spec": {{"resources": {{"requests": {{"storage": "{size}"}}}}}}}}'
    cluster.kubectl("-n", namespace, "patch", "pvc", "www-web-0", "-p", patch)


def _has(cluster: Running, namespace: str) -> str:
    status = cluster.json("-n", namespace, "get", "pvc", "www-web-0")["status"]
    return str(status["capacity"]["storage"])


def _free_mib(cluster: Running, namespace: str) -> int:
    return int(cluster.shell(namespace, "web-0", "df -m /data | tail -1 | awk '{print $2}'"))


def _write_on(cluster: Running, namespace: str) -> None:
    """Start a writer that counts until a write fails."""
    count = "i=0; while echo $i >> /data/count; do i=$((i+1)); sleep 0.05; done"
    cluster.shell(namespace, "web-0", f"({count}) >/dev/null 2>&1 &")


def _written(cluster: Running, namespace: str) -> list[int]:
    return [int(line) for line in cluster.shell(namespace, "web-0", "cat /data/count").split()]


@pytest.mark.parametrize("backend", ["mooring-directory", "test-xfs"])
def test_a_volume_is_expanded_while_a_pod_writes(mooring: Running, namespace: str, backend: str) -> None:
    """The pod is not restarted, and no write is lost."""
    mooring.apply(namespace, *web(backend, replicas=1, size="400Mi"))
    rolled_out(mooring, namespace)
    before = _free_mib(mooring, namespace)
    _write_on(mooring, namespace)
    _grow(mooring, namespace, "800Mi")
    until(lambda: _has(mooring, namespace) == "800Mi", "the claim has what it asked for", seconds=120)
    if backend == "test-xfs":
        assert _free_mib(mooring, namespace) > before + 350
    seen = len(_written(mooring, namespace))
    until(lambda: len(_written(mooring, namespace)) > seen, "the pod goes on writing")
    written = _written(mooring, namespace)
    assert written == list(range(len(written)))
    pod = mooring.json("-n", namespace, "get", "pod", "web-0")
    assert 0 == pod["status"]["containerStatuses"][0]["restartCount"]


def test_a_recreated_set_that_requests_more_has_its_volume_expanded(mooring: Running, namespace: str) -> None:
    """It adopts its former volume with its data; ext4 is expanded offline here."""
    mooring.apply(namespace, *web("test-ext4", replicas=1, size="64Mi"))
    rolled_out(mooring, namespace)
    before = _free_mib(mooring, namespace)
    mooring.kubectl("-n", namespace, "delete", "statefulset/web", "pvc/www-web-0")
    mooring.apply(namespace, *web("test-ext4", replicas=1, size="128Mi"))
    rolled_out(mooring, namespace)
    assert "web-0\n" == mooring.shell(namespace, "web-0", "cat /data/host")
    until(lambda: _has(mooring, namespace) == "128Mi", "the claim has what it asked for")
    assert _free_mib(mooring, namespace) > before + 40


def test_an_expansion_beyond_the_free_capacity_is_refused_and_reported(mooring: Running, namespace: str) -> None:
    """I7: an Event and a condition report it; the pod runs on with the volume as it is."""
    mooring.apply(namespace, *web("mooring-directory", replicas=1, size="64Mi"))
    rolled_out(mooring, namespace)
    _grow(mooring, namespace, "900Ti")

    def reported() -> bool:
        described = mooring.kubectl("-n", namespace, "describe", "pvc", "www-web-0")
        return "can reserve" in described and "are requested" in described

    until(reported, "kubectl describe shows why")
    assert "64Mi" == _has(mooring, namespace)
    _grow(mooring, namespace, "128Mi")
    until(lambda: _has(mooring, namespace) == "128Mi", "a request that fits is met", seconds=120)
