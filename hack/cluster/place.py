"""
Where a cluster is: its folder, its addresses, the names of its machines.

Everything of one cluster lies in one folder outside the checkout, and everything about it can be told from that folder
and one number: the third byte of its network. That number is taken by making the network interface that carries it, so
two clusters on one machine never share it.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

CONTROL_PLANE: Final = "control-plane"
MOST_NODES: Final = 9
SERVICES: Final = "10.96.0.0/16"
FIRST_SERVICE: Final = "10.96.0.1"
PODS: Final = "10.244.0.0/16"
API_PORT: Final = 6443


def cache() -> Path:
    """The project's folder for what is made once and kept outside the checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "mooring"


def folder_of(name: str) -> Path:
    """The folder of the cluster of that name, whether there is one or not."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
        raise ValueError(f"{name!r} is no name for a cluster; use up to 20 lower-case letters, digits and dashes")
    return cache() / "clusters" / name


@dataclass(frozen=True)
class Machine:
    """One of the cluster's machines, which is a set of namespaces: its name, its address, its folder."""

    name: str
    address: str
    folder: Path

    @property
    def definition(self) -> Path:
        """What the machine does when it starts, see machine.py."""
        return self.folder / "machine.json"

    @property
    def logs(self) -> Path:
        """One file for each component that runs on it."""
        return self.folder / "logs"

    @property
    def stopped(self) -> Path:
        """One empty file for each component that shall not run."""
        return self.folder / "stopped"

    @property
    def disk(self) -> Path:
        """What survives a reboot: the folders that the machine sees in /var/lib and as /var/log."""
        return self.folder / "disk"


@dataclass(frozen=True)
class Node(Machine):
    """A machine that runs pods."""

    pods: str


@dataclass(frozen=True)
class Cluster:
    """A cluster that is running, or is about to."""

    name: str
    network: int
    size: int
    version: str
    programs: str

    @property
    def environment(self) -> dict[str, str]:
        """What every process inside starts with, whoever starts it; `ctr` finds its node's containerd by it."""
        return {
            "PATH": f"{self.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "CONTAINERD_NAMESPACE": "k8s.io",
        }

    @property
    def folder(self) -> Path:
        """Everything of it that is a file."""
        return folder_of(self.name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, which works from outside the cluster's namespaces."""
        return self.folder / "kubeconfig"

    @property
    def interface(self) -> str:
        """The host's end of the cable between the host and the cluster."""
        return f"mooring{self.network}"

    def address(self, last: int) -> str:
        """An address of the network that the machines and the host share."""
        return f"10.213.{self.network}.{last}"

    @property
    def control_plane(self) -> Machine:
        """The machine with the API server, on which no pods run."""
        return Machine(CONTROL_PLANE, self.address(2), self.folder / CONTROL_PLANE)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The machines that run pods."""
        return tuple(
            Node(f"node-{i}", self.address(10 + i), self.folder / f"node-{i}", f"10.244.{i}.0/24")
            for i in range(1, self.size + 1)
        )

    def machine(self, name: str) -> Machine:
        """The machine of that name."""
        machines = {machine.name: machine for machine in (self.control_plane, *self.nodes)}
        if name not in machines:
            raise LookupError(f"cluster {self.name} has no machine {name!r}; it has {', '.join(machines)}")
        return machines[name]

    def save(self) -> None:
        """Write down what cannot be told from the name."""
        (self.folder / "cluster.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


def saved(name: str) -> Cluster | None:
    """The cluster of that name as its folder tells it."""
    try:
        return Cluster(**json.loads((folder_of(name) / "cluster.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def networks() -> Iterator[int]:
    """The numbers a cluster may try to take."""
    return iter(range(256))
