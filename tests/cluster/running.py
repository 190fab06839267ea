"""The cluster as tests use it: kubectl, and what can be done to each machine."""

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
"""A static busybox that is on every node."""


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
        """The machine's /var/lib/mooring on its disk, which survives a reboot. Mounts in it are not to be seen here."""
        return self._inside.machine.disk / "mooring"

    @property
    def kubelet_folder(self) -> Path:
        """The machine's /var/lib/kubelet on its disk. Mounts in it are not to be seen here."""
        return self._inside.machine.disk / "kubelet"

    @property
    def root(self) -> Path:
        """The machine's files as the machine sees them, with its mounts; good until it is switched off."""
        return self._inside.root

    def run(self, *argv: str) -> str:
        """Run a command as root on the machine, where paths are the machine's."""
        return self._inside.run(*argv)

    def kill(self, component: str) -> None:
        """Kill -9 kubelet, containerd, kube-apiserver, ...; it is started again after a second."""
        self._inside.kill(component)

    def stop(self, component: str) -> None:
        """Kill a component, and keep it from coming back."""
        self._inside.stop(component)

    def start(self, component: str) -> None:
        """Start a component that was stopped."""
        self._inside.start(component)

    def restart(self, component: str) -> None:
        """Have a component end in order, and start again."""
        self._inside.restart(component)

    @contextmanager
    def renamed(self, name: str) -> Iterator[None]:
        """
        The node under another name meanwhile, as after a change of the host's name: its former Node is deleted.

        Its kubelet is one that is started here, with a certificate for the new name.
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
            print(*Path(log.name).read_text(encoding="utf-8", errors="replace").splitlines()[-40:], sep="\n")  # noqa: T201 # shown when the test fails
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
        """Pull the node's plug."""
        life.power_off(self.cluster, self.name)

    def power_on(self) -> None:
        """Switch the node on again."""
        life.power_on(self.cluster, self.name)

    def reboot(self) -> None:
        """Pull the plug and switch the node on again."""
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
        """The administrator's; it works from here."""
        return self.cluster.kubeconfig

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(node.name for node in self.cluster.nodes)

    def on(self, machine: str) -> OnMachine:
        """Find a node by its name, or `control-plane`."""
        self.cluster.machine(machine)
        return OnMachine(self.cluster, machine)

    def load(self, archive: Path) -> None:
        """Import an image on every node."""
        life.load(self.cluster, archive)

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """One command that must go well; what it printed."""
        done = life.kubectl(self.cluster, *arguments, text=text)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def refused(self, *arguments: str, text: str = "") -> str:
        """One command that must fail; its complaint."""
        done = life.kubectl(self.cluster, *arguments, text=text)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} went well: {done.stdout}"
        return done.stderr

    def json(self, *arguments: str) -> Any:
        """What `kubectl ... -o json` prints; reads of common kinds go to the API server at once."""
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
        """Run a shell command in a pod; what it printed."""
        return self.kubectl("-n", namespace, "exec", pod, "--", "sh", "-c", command)
