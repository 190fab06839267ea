"""The running cluster: kubectl, and operations on each machine."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hack.cluster import images, life, outside
from hack.cluster.credentials import Authority
from hack.cluster.place import API_PORT, Cluster
from tests.cluster import reading

IMAGE = images.BUSYBOX
"""An image with a static busybox, on every node."""


@dataclass(frozen=True)
class OnMachine:
    """A machine by name: node-1, ..., or control-plane."""

    cluster: Cluster
    name: str

    @property
    def _inside(self) -> outside.Inside:
        return outside.Inside(self.cluster, self.cluster.machine(self.name))

    @property
    def pool_folder(self) -> Path:
        """The machine's /var/lib/mooring on its disk, which survives a reboot. Mounts in it are not visible here."""
        return self._inside.machine.disk / "mooring"

    @property
    def kubelet_folder(self) -> Path:
        """The machine's /var/lib/kubelet on its disk. Mounts in it are not visible here."""
        return self._inside.machine.disk / "kubelet"

    @property
    def root(self) -> Path:
        """The root directory of the machine with its mounts; valid until it is powered off."""
        return self._inside.root

    def run(self, *argv: str) -> str:
        """Run a command as root on the machine, with the machine's paths; return its output."""
        return self._inside.run(*argv)

    def kill(self, component: str) -> None:
        """Kill a component (kubelet, containerd, kube-apiserver, ...) with SIGKILL; it is restarted after a second."""
        self._inside.kill(component)

    def stop(self, component: str) -> None:
        """Kill a component, and do not restart it."""
        self._inside.stop(component)

    def start(self, component: str) -> None:
        """Start a component that was stopped."""
        self._inside.start(component)

    def restart(self, component: str) -> None:
        """Terminate a component, and wait until it is restarted."""
        self._inside.restart(component)

    @contextmanager
    def renamed(self, name: str) -> Iterator[None]:
        """
        Give the node another name for a time, as after a change of the host's name; its former Node is deleted.

        A kubelet with a certificate for the new name is started for it.
        """
        pki = self.cluster.folder / "pki"
        key = load_pem_private_key((pki / "ca.key").read_bytes(), password=None)
        assert isinstance(key, EllipticCurvePrivateKey)
        authority = Authority(pki, key)
        authority.sign(name, f"system:node:{name}", "system:nodes")
        server = f"https://{self.cluster.control_plane.address}:{API_PORT}"
        (pki / f"{name}.kubeconfig").write_text(authority.kubeconfig(name, server), encoding="utf-8")
        definition = json.loads(self._inside.machine.definition.read_text(encoding="utf-8"))
        argv = [word.replace(f"={self.name}", f"={name}") for word in definition["run"]["kubelet"]]
        argv = [word.replace(f"/{self.name}.kubeconfig", f"/{name}.kubeconfig") for word in argv]
        self.stop("kubelet")
        life.kubectl(self.cluster, "delete", "node", self.name)
        log = (self.cluster.folder / f"{name}.log").open("wb")
        kubelet = subprocess.Popen(self._inside.enter(argv), env=self.cluster.environment, stdout=log, stderr=log)
        try:
            yield
        except BaseException:
            print(*Path(log.name).read_text(encoding="utf-8", errors="replace").splitlines()[-40:], sep="\n")  # noqa: T201 # printed when the test fails
            raise
        finally:
            self._inside.run("pkill", "-9", "-f", "--", f"hostname-override={name}")
            kubelet.wait()
            log.close()
            life.kubectl(self.cluster, "delete", "node", name)
            self.start("kubelet")
            for suffix in ("key", "crt", "kubeconfig"):
                (pki / f"{name}.{suffix}").unlink()

    def power_off(self) -> None:
        """Power the node off."""
        life.power_off(self.cluster, self.name)

    def power_on(self) -> None:
        """Power the node on."""
        life.power_on(self.cluster, self.name)

    def reboot(self) -> None:
        """Power the node off and on."""
        try:
            self.power_off()
        finally:
            self.power_on()


@dataclass(frozen=True)
class Running:
    """The cluster."""

    cluster: Cluster

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, which works on the host."""
        return self.cluster.kubeconfig

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(node.name for node in self.cluster.nodes)

    def on(self, machine: str) -> OnMachine:
        """Return the machine of a node, or of `control-plane`."""
        self.cluster.machine(machine)
        return OnMachine(self.cluster, machine)

    def load(self, archive: Path) -> None:
        """Import an image on every node."""
        life.load(self.cluster, archive)

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """Run a kubectl command that must succeed; return its output."""
        done = life.kubectl(self.cluster, *arguments, text=text)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def refused(self, *arguments: str, text: str = "") -> str:
        """Run a kubectl command that must fail; return its error message."""
        done = life.kubectl(self.cluster, *arguments, text=text)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} succeeded: {done.stdout}"
        return done.stderr

    def json(self, *arguments: str) -> Any:
        """Return the result of `kubectl ... -o json`; reads of common kinds are sent to the API server directly."""
        if (path := reading.path_of(arguments)) is None:
            return json.loads(self.kubectl(*arguments, "-o", "json"))
        server = f"https://{self.cluster.control_plane.address}:{API_PORT}"
        return reading.get(server, self.cluster.folder / "pki", path)

    def apply(self, namespace: str, *objects: dict[str, Any]) -> None:
        """Apply objects."""
        everything = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(everything))

    def ready(self, namespace: str, *pods: str, seconds: int = 120) -> None:
        """Wait until pods are ready."""
        names = [f"pod/{name}" for name in pods]
        self.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"--timeout={seconds}s", *names)

    def shell(self, namespace: str, pod: str, command: str) -> str:
        """Run a shell command in a pod; return its output."""
        return self.kubectl("-n", namespace, "exec", pod, "--", "sh", "-c", command)
