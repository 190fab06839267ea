"""
The folder, the addresses and the machines of a cluster.

All files of a cluster are in one folder outside the checkout, and everything about it follows from that folder and one
number: the third byte of its network. The number is reserved by creating the network interface that has it, so two
clusters on one machine never share it.
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
    """Return the project's cache folder, outside the checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "mooring"


def folder_of(name: str) -> Path:
    """Return the folder of the cluster of that name, whether it exists or not."""
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
        """The definition of the machine, see machine.py."""
        return self.folder / "machine.json"

    @property
    def logs(self) -> Path:
        """The folder with one log for each component."""
        return self.folder / "logs"

    @property
    def stopped(self) -> Path:
        """The folder with one empty file for each stopped component."""
        return self.folder / "stopped"

    @property
    def disk(self) -> Path:
        """The machine's disk: the folders that it sees in /var/lib and as /var/log."""
        return self.folder / "disk"


@dataclass(frozen=True)
class Node(Machine):
    """A machine that runs pods."""

    pods: str


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs or is being started."""

    name: str
    network: int
    size: int
    version: str
    programs: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process of the cluster; `ctr` finds its node's containerd by it."""
        return {
            "PATH": f"{self.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "CONTAINERD_NAMESPACE": "k8s.io",
        }

    @property
    def folder(self) -> Path:
        """The folder with all files of the cluster."""
        return folder_of(self.name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, which works on the host."""
        return self.folder / "kubeconfig"

    @property
    def interface(self) -> str:
        """The host's end of the cable between the host and the cluster."""
        return f"mooring{self.network}"

    def address(self, last: int) -> str:
        """Return an address of the network of the machines and the host."""
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
        """Return the machine of that name."""
        machines = {machine.name: machine for machine in (self.control_plane, *self.nodes)}
        if name not in machines:
            raise LookupError(f"cluster {self.name} has no machine {name!r}; it has {', '.join(machines)}")
        return machines[name]

    def save(self) -> None:
        """Write the settings that do not follow from the name."""
        (self.folder / "cluster.json").write_text(json.dumps(asdict(self)), encoding="utf-8")


def saved(name: str) -> Cluster | None:
    """Read the cluster of that name from its folder."""
    try:
        return Cluster(**json.loads((folder_of(name) / "cluster.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def networks() -> Iterator[int]:
    """Return the numbers of networks that a cluster may reserve."""
    return iter(range(256))
