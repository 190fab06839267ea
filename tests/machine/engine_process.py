"""A real engine in a process of its own, and a client for it on the standard library."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

Json = dict[str, Any]
Found = TypeVar("Found")

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
PODS = "/api/v1/namespaces/default/pods"
SETS = "/apis/apps/v1/namespaces/default/statefulsets"
VOLUMES = "/api/v1/persistentvolumes"
PATIENCE = 60.0
"""Seconds after which something that should come is taken for lost; nothing is measured by it."""
STRICT_UMASK = 0o077
"""As some services and build machines have it; what an engine makes has the modes it says all the same."""


class RequestError(Exception):
    """The API said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class EngineProcess:
    """One engine on one state directory; start it, talk to it, kill it."""

    def __init__(self, state: Path, *, pools: Sequence[Path] = (), prefix: Sequence[str] = ()) -> None:
        self.state = state
        self._pools = pools
        self._prefix = tuple(prefix)
        self.process: subprocess.Popen[bytes] | None = None

    # the process

    def start(self) -> None:
        """Start the engine and wait until it says ready."""
        self.spawn()
        self.until(self._is_ready, "the engine says ready")

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the engine."""
        argv = [*self._prefix, sys.executable, "-m", "provisioner.cli.main", "up", "--state", str(self.state)]
        argv += ["--purge-interval", "0.5", *(word for pool in self._pools for word in ("--pool", str(pool)))]
        self.log = self.state.with_name(f"{self.state.name}.log")
        with self.log.open("ab") as log:
            environment = os.environ | {"HOME": str(self.state.parent)}
            self.process = subprocess.Popen(argv, stderr=log, stdout=log, env=environment, umask=STRICT_UMASK)
        return self.process

    def _is_ready(self) -> bool:
        assert self.process is not None
        if (code := self.process.poll()) is not None:
            raise AssertionError(f"the engine ended with {code}:\n{self.log_tail()}")
        return (self.state / "holder.json").exists() and self._answers()

    def _answers(self) -> bool:
        try:
            return bool(self.get("/api/v1/nodes")["items"])
        except (OSError, RequestError):
            return False

    def log_tail(self) -> str:
        """What the engine has said so far, the end of it."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:]

    def driver_pid(self) -> int | None:
        """Process id of the engine's driver, if one runs."""
        assert self.process is not None
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                log_tail = (entry / "cmdline").read_bytes().split(b"\0")
                if b"csi" in log_tail and f"unix://{self.state}/driver/csi.sock".encode() in log_tail:
                    return int(entry.name)
        return None

    def kill(self) -> None:
        """Kill -9 the engine and wait until its driver has noticed."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.until(lambda: self.driver_pid() is None, "the driver ends with its parent")
        (self.state / "holder.json").unlink(missing_ok=True)

    def kill_driver(self) -> None:
        """Kill -9 the driver, if one runs just now."""
        if (pid := self.driver_pid()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def remains(self) -> dict[str, list[str]]:
        """Mounts and loop devices that belong to this state directory, in the namespace of the caller."""
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        mounts = [line.split()[4] for line in table if line.split()[4].startswith(f"{self.state}/")]
        loops = []
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                if backing.read_text(encoding="utf-8").startswith(f"{self.state}/"):
                    loops.append(f"/dev/{backing.parent.parent.name}")
        return {"mounts": mounts, "loops": loops}

    def clean_up(self) -> None:
        """After a test, whatever happened to it: no process, no mount, no loop device."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with contextlib.suppress(AssertionError):
            self.until(lambda: self.driver_pid() is None, "the driver ends", patience=10)
        self.kill_driver()
        remains = self.remains()
        for mount in reversed(remains["mounts"]):
            subprocess.run(["umount", "--lazy", mount], check=False)
        for loop in remains["loops"]:
            subprocess.run(["losetup", "--detach", loop], check=False)

    # the client

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Json:
        """One request with the kubeconfig's token and authority."""
        config = yaml.safe_load((self.state / "kubeconfig").read_text(encoding="utf-8"))
        context = ssl.create_default_context(cafile=str(self.state / "tls" / "ca.crt"))
        request = urllib.request.Request(  # noqa: S310 - our own address
            config["clusters"][0]["cluster"]["server"] + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Content-Type": content},
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:  # noqa: S310
                found: Json = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            raise RequestError(error.code, error.read().decode(errors="replace")) from None

    def get(self, path: str) -> Json:
        """GET."""
        return self.request("GET", path)

    def create(self, path: str, body: Json) -> Json:
        """POST, and fine when it exists."""
        try:
            return self.request("POST", path, body)
        except RequestError as error:
            if error.status != 409:
                raise
            return self.get(f"{path}/{body['metadata']['name']}")

    def delete(self, path: str) -> None:
        """DELETE, and fine when it is gone."""
        try:
            self.request("DELETE", path)
        except RequestError as error:
            if error.status != 404:
                raise

    def patch(self, path: str, body: Json) -> Json:
        """Merge patch."""
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def find(self, path: str) -> Json | None:
        """GET, None when there is no such object."""
        try:
            return self.get(path)
        except RequestError as error:
            if error.status != 404:
                raise
            return None

    def names(self, path: str) -> list[str]:
        """Names of a collection's objects, sorted."""
        return sorted(item["metadata"]["name"] for item in self.get(path)["items"])

    def until(self, check: Callable[[], Found], what: str, *, patience: float = PATIENCE) -> Found:
        """Ask again until the answer is true; the answer."""
        limit = time.monotonic() + patience
        while True:
            try:
                if found := check():
                    return found
            except OSError as error:
                if time.monotonic() > limit:
                    raise AssertionError(f"waited in vain until {what}: {error}\n{self.log_tail()}") from error
            if time.monotonic() > limit:
                raise AssertionError(f"waited in vain until {what}\n{self.log_tail()}")
            time.sleep(0.03)

    # the demo's work

    def ready_pods(self, *names: str) -> None:
        """Wait until these pods are Ready."""
        for name in names:
            self.until(lambda name=name: self._ready(name), f"pod {name} is Ready")  # type: ignore[misc]

    def _ready(self, name: str) -> bool:
        pod = self.find(f"{PODS}/{name}")
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return False
        conditions = pod.get("status", {}).get("conditions") or []
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def file(self, pod: str, name: str = "token") -> Path:
        """A file in the pod's volume, seen through the engine's mount namespace."""
        holder = json.loads((self.state / "holder.json").read_text(encoding="utf-8"))
        root = Path(f"/proc/{holder['pid']}/root") if holder["rootless"] else Path("/")
        return root / str(self.state / "pods" / "default" / pod / "www" / name).lstrip("/")


def stateful_set(*, replicas: int = 2, storage_class: str = "mooring-directory", size: str = "16Mi") -> Json:
    """The demo's set: `web` with one claim template `www`."""
    labels = {"app": "nginx"}
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    container = {"name": "nginx", "image": "nginx", "volumeMounts": [{"name": "www", "mountPath": "/usr/share"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "serviceName": "nginx",
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": spec}],
        },
    }
