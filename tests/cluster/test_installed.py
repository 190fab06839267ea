"""Install, upgrade and uninstall Mooring with the commands of its guides."""

import pytest

from tests.cluster.installing import install, uninstall, wait
from tests.cluster.running import IMAGE, Running
from tests.conftest import ROOT
from tests.unit.deploy.rendering import NAMESPACE

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(1800)]

EXAMPLE = (ROOT / "examples" / "ordinals.yaml").read_text(encoding="utf-8")
ORDINALS = ("ordinals-0", "ordinals-1")


def _apply(cluster: Running, namespace: str) -> dict[str, str]:
    """Apply the guides' StatefulSet with an image that is on the nodes; return the content of each ordinal's volume."""
    text = EXAMPLE.replace("docker.io/library/busybox:1.37.0", IMAGE)
    assert text != EXAMPLE
    cluster.kubectl("-n", namespace, "apply", "-f", "-", text=text)
    cluster.kubectl("-n", namespace, "rollout", "status", "statefulset/ordinals", "--timeout=180s")
    return {name: cluster.shell(namespace, name, "cat /data/who") for name in ORDINALS}


def _delete(cluster: Running, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "delete", "-f", "-", text=EXAMPLE)
    cluster.kubectl("-n", namespace, "delete", "pvc", *(f"data-{name}" for name in ORDINALS))


def test_each_ordinal_adopts_its_own_volume(mooring: Running, namespace: str) -> None:
    """It does so after the set and its claims were deleted."""
    before = _apply(mooring, namespace)
    assert all(text.startswith(f"{name}\n") for name, text in before.items())
    _delete(mooring, namespace)

    assert _apply(mooring, namespace) == before
    _delete(mooring, namespace)


def test_pods_keep_running_during_an_upgrade(mooring: Running, namespace: str) -> None:
    """Every driver and controller is replaced, and no pod is restarted."""
    before = _apply(mooring, namespace)
    for workload in ("daemonset/mooring-driver", "deployment/mooring-controller"):
        mooring.kubectl("-n", NAMESPACE, "rollout", "restart", workload)
    wait(mooring)

    assert {name: mooring.shell(namespace, name, "cat /data/who") for name in ORDINALS} == before
    pods = mooring.json("-n", namespace, "get", "pods")["items"]
    assert [each["status"]["containerStatuses"][0]["restartCount"] for each in pods] == [0, 0]
    _delete(mooring, namespace)


def test_no_data_is_lost_by_uninstalling(mooring: Running, namespace: str) -> None:
    """Pods are deleted first, then Mooring; after installing again every volume has its data."""
    before = _apply(mooring, namespace)
    mooring.kubectl("-n", namespace, "scale", "statefulset/ordinals", "--replicas=0")
    mooring.kubectl("-n", namespace, "wait", "--for=delete", *(f"pod/{each}" for each in ORDINALS), "--timeout=120s")
    uninstall(mooring)
    mooring.kubectl("wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=120s")
    install(mooring)

    assert _apply(mooring, namespace) == before
    _delete(mooring, namespace)
