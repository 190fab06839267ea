"""Tests of the whole demo with an ordinary kubectl, a real engine and real mounts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import programs
from tests.machine.engine_process import EngineProcess
from tests.machine.kubectl import Kubectl
from tests.machine.test_rootless import AS_NOBODY

pytestmark = [pytest.mark.needs("kubectl"), pytest.mark.timeout(programs.BUILD_SECONDS)]

AS_ROOT = pytest.param((), id="root", marks=pytest.mark.needs("root"))
AS_USER = pytest.param(AS_NOBODY, id="user", marks=pytest.mark.needs("userns"))
WEB = str(programs.ROOT / "examples" / "web.yaml")
SECONDS = "--timeout=60s"


@pytest.fixture(params=[AS_ROOT])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineProcess]:
    """A running engine with an empty state directory; it runs as root unless the test is parametrized."""
    running = EngineProcess(tmp_path / "s", prefix=request.param)
    try:
        running.start()
        yield running
    finally:
        running.clean_up()


@pytest.fixture
def kubectl(engine: EngineProcess) -> Kubectl:
    """Kubectl for the test's engine."""
    return Kubectl(engine.state)


def _path(engine: EngineProcess, pod: str) -> Path:
    """Return what `mooring path` prints for a pod."""
    done = engine.mooring("path", pod)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def _bring_up(kubectl: Kubectl, *flags: str) -> None:
    kubectl("apply", *flags, "-f", WEB)
    kubectl("rollout", "status", "statefulset/web", SECONDS)


def _volumes(kubectl: Kubectl) -> dict[str, tuple[str, str]]:
    """Return UID and volume of each claim, by the claim's name."""
    claims = kubectl.json("get", "pvc", "-l", "app=nginx")["items"]
    return {each["metadata"]["name"]: (each["metadata"]["uid"], each["spec"].get("volumeName", "")) for each in claims}


def test_claims_are_bound_in_order(kubectl: Kubectl) -> None:
    """web-0 is created before web-1; each claim is Bound to a volume named after it, with 1Gi and RWO."""
    assert kubectl("apply", "-f", WEB).splitlines() == ["service/nginx created", "statefulset.apps/web created"]
    assert "2 new pods have been updated" in kubectl("rollout", "status", "statefulset/web", SECONDS)
    events = kubectl.json("get", "events", "--field-selector", "reason=SuccessfulCreate")["items"]
    created = sorted((int(each["metadata"]["resourceVersion"]), each["message"]) for each in events)
    assert ["web-0" in created[0][1], "web-1" in created[1][1]] == [True, True]
    claims = _volumes(kubectl)
    expected = [
        [name, "Bound", f"pvc-{uid}", "1Gi", "RWO", "mooring-directory", "<unset>"] for name, (uid, _) in claims.items()
    ]
    assert [row[:7] for row in kubectl.rows("get", "pvc", "-l", "app=nginx")] == expected
    heading = kubectl("get", "pvc").splitlines()[0]
    assert heading.replace("ACCESS MODES", "ACCESS-MODES").split() == [
        "NAME", "STATUS", "VOLUME", "CAPACITY", "ACCESS-MODES", "STORAGECLASS", "VOLUMEATTRIBUTESCLASS", "AGE",
    ]  # fmt: skip
    assert "Used By:       web-0" in kubectl("describe", "pvc", "www-web-0")
    assert sorted(row[1] for row in kubectl.rows("get", "pv", "-o", "wide")) == ["1Gi", "1Gi"]


def test_files_outlive_pods(engine: EngineProcess, kubectl: Kubectl) -> None:
    """Files written to the directory of `mooring path` exist when the deleted pods are recreated."""
    _bring_up(kubectl)
    for pod in ("web-0", "web-1"):
        (_path(engine, pod) / "index.html").write_text(pod, encoding="utf-8")
    before = kubectl.json("get", "pods")["items"]
    assert kubectl("delete", "pod", "-l", "app=nginx").count("deleted") == 2
    kubectl("rollout", "status", "statefulset/web", SECONDS)
    kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=nginx", SECONDS)
    after = kubectl.json("get", "pods")["items"]
    assert {each["metadata"]["uid"] for each in before}.isdisjoint(each["metadata"]["uid"] for each in after)
    for pod in ("web-0", "web-1"):
        assert (_path(engine, pod) / "index.html").read_text(encoding="utf-8") == pod


def test_scaling_keeps_volumes(engine: EngineProcess, kubectl: Kubectl) -> None:
    """Scaling to three and down to one keeps the claims; the third pod has its files when it is recreated."""
    _bring_up(kubectl)
    kubectl("scale", "statefulset/web", "--replicas=3", "--current-replicas=2")
    kubectl("rollout", "status", "statefulset/web", SECONDS)
    (_path(engine, "web-2") / "index.html").write_text("third", encoding="utf-8")
    claims = _volumes(kubectl)
    kubectl("scale", "statefulset/web", "--replicas=1")
    kubectl("wait", "--for=delete", "pod/web-1", "pod/web-2", SECONDS)
    assert kubectl("get", "pods", "-o", "name") == "pod/web-0\n"
    assert _volumes(kubectl) == claims
    kubectl("scale", "statefulset/web", "--replicas=3")
    kubectl("rollout", "status", "statefulset/web", SECONDS)
    assert (_path(engine, "web-2") / "index.html").read_text(encoding="utf-8") == "third"


@pytest.mark.parametrize(
    ("engine", "flags"),
    [
        pytest.param((), (), id="root-client-side", marks=pytest.mark.needs("root")),
        pytest.param(AS_NOBODY, ("--server-side",), id="user-server-side", marks=pytest.mark.needs("userns")),
    ],
    indirect=["engine"],
)
def test_each_ordinal_adopts_its_own_volume(engine: EngineProcess, kubectl: Kubectl, flags: tuple[str, ...]) -> None:
    """I2: after set and claims are deleted and applied again, each claim has a new UID, the old volume and its data."""
    _bring_up(kubectl, *flags)
    before = _volumes(kubectl)
    for pod in ("web-0", "web-1"):
        (_path(engine, pod) / "index.html").write_text(pod, encoding="utf-8")
    kubectl("delete", "statefulset", "web", "--cascade=foreground")
    assert kubectl("get", "pods", "-o", "name") == ""
    assert kubectl("delete", "pvc", "--all").count("deleted") == 2
    assert [row[4:6] for row in kubectl.rows("get", "pv")] == [
        ["Released", f"default/{claim}"] for claim, _ in sorted(before.items(), key=lambda each: each[1][1])
    ]
    _bring_up(kubectl, *flags)
    after = _volumes(kubectl)
    for claim, (uid, volume) in before.items():
        assert after[claim][1] == volume
        assert after[claim][0] != uid
    for pod in ("web-0", "web-1"):
        assert (_path(engine, pod) / "index.html").read_text(encoding="utf-8") == pod


def test_a_claim_that_cannot_bind_reports_why(engine: EngineProcess, kubectl: Kubectl) -> None:
    """I7: `describe` shows the Event with the reason, `wait` times out, and the claim can be deleted."""
    claim = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared}
spec:
  storageClassName: mooring-directory
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 1Gi}}
"""
    kubectl("create", "-f", "-", text=claim)
    pod = '{"spec": {"volumes": [{"name": "s", "persistentVolumeClaim": {"claimName": "shared"}}]}}'
    kubectl("run", "one", "--image=nginx:1", f"--overrides={pod}")

    def reported() -> str:
        described = kubectl("describe", "pvc", "shared")
        return described if "ProvisioningFailed" in described.partition("Events:")[2] else ""

    described = engine.until(reported, "describe shows the reason")
    assert "Status:        Pending" in described
    assert "access mode" in described.partition("ProvisioningFailed")[2]
    assert "timed out" in kubectl.refused("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/shared", "--timeout=1s")
    kubectl("delete", "pod", "one")
    kubectl("delete", "pvc", "shared")
    assert kubectl("get", "pvc", "-o", "name") == ""


def test_a_namespace_is_deleted_with_all_its_objects(kubectl: Kubectl) -> None:
    """The namespace is created with protobuf, and deleted with the set, its pods and its claims."""
    kubectl("create", "namespace", "shop")
    kubectl("apply", "-n", "shop", "-f", WEB)
    kubectl("rollout", "status", "-n", "shop", "statefulset/web", SECONDS)
    assert kubectl("get", "pvc", "-A", "-o", "name").count("persistentvolumeclaim/") == 2
    kubectl("delete", "namespace", "shop")
    assert "NotFound" in kubectl.refused("get", "namespace", "shop")
    assert kubectl("get", "all,pvc", "-A", "-o", "name") == ""
    assert [row[4] for row in kubectl.rows("get", "pv")] == ["Released", "Released"]


def test_the_engine_has_its_own_field_manager(kubectl: Kubectl) -> None:
    """The managed fields distinguish fields of the user from fields of Mooring."""
    _bring_up(kubectl, "--server-side")
    fields = kubectl.json("get", "statefulset", "web", "--show-managed-fields")["metadata"]["managedFields"]
    assert {(each["manager"], each["operation"], each.get("subresource", "")) for each in fields} == {
        ("kubectl", "Apply", ""),
        ("mooring", "Update", "status"),
    }
