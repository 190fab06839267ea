"""The cluster as tests use it: kubectl, and what can be done to each machine."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import images, life, outside
from hack.cluster.place import Cluster

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

    def power_off(self) -> None:
        """Pull the node's plug."""
        life.power_off(self.cluster, self.name)

    def power_on(self) -> None:
        """Switch the node on again."""
        life.power_on(self.cluster, self.name)

    def reboot(self) -> None:
        """Pull the plug and switch the node on again."""
        self.power_off()
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
        """One command that prints JSON."""
        return json.loads(self.kubectl(*arguments, "-o", "json"))

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
