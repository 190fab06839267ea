"""A real engine as a child process, and a client for its API based on the standard library."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests import builders
from tests.until import until

Json = dict[str, Any]
Found = TypeVar("Found")

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
PODS = "/api/v1/namespaces/default/pods"
SETS = "/apis/apps/v1/namespaces/default/statefulsets"
VOLUMES = "/api/v1/persistentvolumes"
PATIENCE = 60.0
"""The timeout in seconds for an expected state; it is no performance limit."""
STRICT_UMASK = 0o077
"""The umask of some services and build machines; the files of an engine must have the intended modes nevertheless."""

NO_CERTIFICATES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""For programs with aiohttp, which reads all certificates of the machine when it is imported: a tenth of a second."""


class RequestError(Exception):
    """The API server refused a request, with the HTTP code `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class EngineProcess:
    """The process of one engine on one state directory, and requests to its API server."""

    def __init__(self, state: Path, *, pools: Sequence[Path] = (), prefix: Sequence[str] = ()) -> None:
        self.state = state
        self._pools = pools
        self._prefix = tuple(prefix)
        self.process: subprocess.Popen[bytes] | None = None

    # the process

    def start(self) -> None:
        """Start the engine and wait until it is ready."""
        self.spawn()
        self.until(self._is_ready, "the engine is ready")

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the engine without waiting; return its process."""
        argv = [*self._prefix, sys.executable, "-m", "provisioner.cli.main", "up", "--state", str(self.state)]
        argv += ["--purge-interval", "0.5", *(flag for pool in self._pools for flag in ("--pool", str(pool)))]
        self.log = self.state.with_name(f"{self.state.name}.log")
        with self.log.open("ab") as log:
            environment = os.environ | NO_CERTIFICATES | {"HOME": str(self.state.parent)}
            self.process = subprocess.Popen(argv, stderr=log, stdout=log, env=environment, umask=STRICT_UMASK)
        return self.process

    def _is_ready(self) -> bool:
        assert self.process is not None
        if (code := self.process.poll()) is not None:
            raise AssertionError(f"the engine ended with {code}:\n{self.log_tail()}")
        return (self.state / "holder.json").exists() and self._responds()

    def _responds(self) -> bool:
        try:
            return bool(self.get("/api/v1/nodes")["items"])
        except (OSError, RequestError):
            return False

    def mooring(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `mooring` for this engine; return its output and exit code."""
        argv = [sys.executable, "-m", "provisioner.cli.main", *arguments, "--state", str(self.state)]
        environment = {key: value for key, value in os.environ.items() if key != "KUBERNETES_SERVICE_HOST"}
        environment |= NO_CERTIFICATES
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment)

    def log_tail(self) -> str:
        """Return the end of the engine's log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:]

    def driver_pid(self) -> int | None:
        """Return the process id of the engine's driver, None when it does not run."""
        assert self.process is not None
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                argv = (entry / "cmdline").read_bytes().split(b"\0")
                if b"csi" in argv and f"unix://{self.state}/driver/csi.sock".encode() in argv:
                    return int(entry.name)
        return None

    def kill(self) -> None:
        """Kill the engine with SIGKILL, and wait until its driver has ended."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.until(lambda: self.driver_pid() is None, "the driver ends with the engine")
        (self.state / "holder.json").unlink(missing_ok=True)

    def kill_driver(self) -> None:
        """Kill the driver with SIGKILL, if it runs."""
        if (pid := self.driver_pid()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> int:
        """Stop the engine with SIGTERM; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def remains(self) -> dict[str, list[str]]:
        """Return the mounts and loop devices of this state directory in the caller's mount namespace."""
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        mounts = [line.split()[4] for line in table if line.split()[4].startswith(f"{self.state}/")]
        loops = []
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                if backing.read_text(encoding="utf-8").startswith(f"{self.state}/"):
                    loops.append(f"/dev/{backing.parent.parent.name}")
        return {"mounts": mounts, "loops": loops}

    def clean_up(self) -> None:
        """Stop all processes, and remove all mounts and loop devices, however the test ended."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with contextlib.suppress(AssertionError):
            self.until(lambda: self.driver_pid() is None, "the driver ends", seconds=10)
        self.kill_driver()
        remains = self.remains()
        for mount in reversed(remains["mounts"]):
            subprocess.run(["umount", "--lazy", mount], check=False)
        for loop in remains["loops"]:
            subprocess.run(["losetup", "--detach", loop], check=False)
        log = self.log.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in log, f"a log has a traceback of bugs only:\n{log}"

    # the client

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Json:
        """Send a request with the kubeconfig's token and authority. Raises RequestError."""
        config = yaml.safe_load((self.state / "kubeconfig").read_text(encoding="utf-8"))
        context = ssl.create_default_context(cafile=str(self.state / "tls" / "ca.crt"))
        request = urllib.request.Request(  # noqa: S310 - the engine's address
            config["clusters"][0]["cluster"]["server"] + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Content-Type": content},
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as response:  # noqa: S310
                found: Json = json.loads(response.read())
                return found
        except urllib.error.HTTPError as error:
            raise RequestError(error.code, error.read().decode(errors="replace")) from None

    def get(self, path: str) -> Json:
        """Send a GET request."""
        return self.request("GET", path)

    def create(self, path: str, body: Json) -> Json:
        """Create the object, or return the existing one."""
        try:
            return self.request("POST", path, body)
        except RequestError as error:
            if error.status != 409:
                raise
            return self.get(f"{path}/{body['metadata']['name']}")

    def delete(self, path: str) -> None:
        """Delete the object, if it exists."""
        try:
            self.request("DELETE", path)
        except RequestError as error:
            if error.status != 404:
                raise

    def patch(self, path: str, body: Json) -> Json:
        """Apply a JSON merge patch."""
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def find(self, path: str) -> Json | None:
        """Return the object, None when it does not exist."""
        try:
            return self.get(path)
        except RequestError as error:
            if error.status != 404:
                raise
            return None

    def names(self, path: str) -> list[str]:
        """Return the sorted names of a collection's objects."""
        return sorted(item["metadata"]["name"] for item in self.get(path)["items"])

    def until(self, check: Callable[[], Found], what: str, *, seconds: float = PATIENCE) -> Found:
        """Poll the check until its result is true, and return that; the error after a timeout has the engine's log."""
        return until(check, what, seconds=seconds, pause=0.03, retried=(OSError,), details=self.log_tail)

    # the demo's objects

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
        """Return the path of a file in the pod's volume, through the engine's mount namespace."""
        process = json.loads((self.state / "holder.json").read_text(encoding="utf-8"))
        root = Path(f"/proc/{process['pid']}/root") if process["rootless"] else Path("/")
        return root / str(self.state / "pods" / "default" / pod / "www" / name).lstrip("/")


def stateful_set(*, replicas: int = 2, storage_class: str = "mooring-directory", size: str = "16Mi") -> Json:
    """Return the demo's StatefulSet `web`, with one claim template `www`."""
    named: Json = {"storageClassName": storage_class} if storage_class else {}
    template = builders.claim("www", size=size, **named)
    container = {"name": "nginx", "volumeMounts": [{"name": "www", "mountPath": "/usr/share"}]}
    found = builders.stateful_set(templates=[template], container=container, replicas=replicas)
    return builders.in_namespace(found)
