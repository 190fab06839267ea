"""Start a cluster until it is ready for pods, and take it down without leaving anything behind."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from hack.cluster import binaries, control_plane, credentials, images, leftovers, node, outside, requirements
from hack.cluster.place import MOST_NODES, Cluster, Machine, cache, folder_of, networks, saved

READY_SECONDS: Final = 240.0
NAME: Final = os.environ.get("MOORING_CLUSTER", "main")


def _say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Take the lock for creating and removing clusters."""
    folder = cache() / "clusters"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def running(name: str = NAME) -> Cluster | None:
    """Return the cluster of that name when it runs; None otherwise."""
    cluster = saved(name)
    return cluster if cluster is not None and outside.root_process(cluster) is not None else None


def names() -> list[str]:
    """Return the names of all clusters that have a folder, running or not."""
    folder = cache() / "clusters"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _found(name: str, nodes: int) -> Cluster | None:
    there = running(name)
    if there is not None and there.size < nodes:
        raise RuntimeError(
            f"cluster {name} has {there.size} of the {nodes} nodes; take it down with 'make cluster-down'"
        )
    return there


def up(name: str = NAME, nodes: int = 2) -> Cluster:
    """Start a cluster unless it runs; it is ready for pods when this returns."""
    if not 1 <= nodes <= MOST_NODES:
        raise ValueError(f"a cluster has 1 to {MOST_NODES} nodes, not {nodes}")
    if (there := _found(name, nodes)) is not None:
        return there
    os.umask(0o022)  # of a machine; the shell's may be stricter
    version = binaries.wanted_version()
    programs = build(version)
    start = time.monotonic()
    with _alone():
        if (there := _found(name, nodes)) is not None:
            return there  # another process has started it meanwhile
        _remove(name)
        cluster = _plugged(name, nodes, version, programs)
        try:
            _define(cluster)
            outside.switch_on(cluster, lambda pid: _plug_in(cluster, pid))
            _wait(cluster)
        except BaseException:
            _say(f"it did not come up; the logs were in {cluster.folder}")
            _keep_logs(cluster)
            _remove(name)
            raise
    _say(f"Kubernetes {version} with {nodes} nodes is up after {time.monotonic() - start:.0f} s")
    return cluster


def build(version: str) -> Path:
    """Check the machine's requirements and build the programs; return their folder."""
    requirements.provide()
    if lacking := requirements.missing():
        raise RuntimeError("; ".join(lacking))
    return binaries.ready(version)


def down(name: str = NAME) -> None:
    """Take a cluster down in any state, and leave nothing behind."""
    with _alone():
        _remove(name)


def _plugged(name: str, nodes: int, version: str, programs: Path) -> Cluster:
    """Reserve a network by creating the host's end of its cable."""
    for network in networks():
        cluster = Cluster(name, network, nodes, version, str(programs))
        made = _ip("link", "add", cluster.interface, "type", "veth", "peer", "name", f"{cluster.interface}in")
        if not made:
            cluster.folder.mkdir(parents=True)
            cluster.save()
            return cluster
        if "exists" not in made:
            raise RuntimeError(f"no network interface could be made: {made}")
    raise RuntimeError("every network from 10.213.0.0/24 to 10.213.255.0/24 is taken; take a cluster down")


def _ip(*arguments: str) -> str:
    """Run ip; return its error output."""
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False).stderr.strip()


def _plug_in(cluster: Cluster, pid: int) -> None:
    """Move the cable's other end into the cluster."""
    inner = f"{cluster.interface}in"
    for command in (
        ["link", "set", inner, "netns", str(pid), "name", control_plane.HOST_PORT],
        ["address", "add", f"{cluster.address(1)}/24", "dev", cluster.interface],
        ["link", "set", cluster.interface, "up"],
    ):
        if complaint := _ip(*command):
            raise RuntimeError(f"ip {' '.join(command)}: {complaint}")


def _define(cluster: Cluster) -> None:
    """Write the files that the machines read, and create what they do not create themselves."""
    pki = credentials.write(cluster)
    for machine in (cluster.control_plane, *cluster.nodes):
        for folder in (machine.logs, machine.stopped, machine.disk):
            folder.mkdir(parents=True)
    for one in cluster.nodes:
        node.configure(cluster, one, pki)
        _write(one, node.definition(cluster, one, pki))
        leftovers.make_cgroups(node.cgroup(cluster, one))
    nodes = {one.name: outside.node_command(one, control_plane.namespace(one)) for one in cluster.nodes}
    (cluster.control_plane.folder / "Corefile").write_text(control_plane.corefile(pki), encoding="utf-8")
    _write(cluster.control_plane, control_plane.definition(cluster, pki, nodes))
    (cluster.folder / "settings.json").write_text(json.dumps(leftovers.settings()), encoding="utf-8")
    images.busybox(cluster.folder / "busybox.tar")


def _write(machine: Machine, definition: dict[str, object]) -> None:
    machine.definition.write_text(json.dumps(definition, indent=2), encoding="utf-8")


def kubectl(cluster: Cluster, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl as the administrator, on the host."""
    argv = [f"{cluster.programs}/kubectl", f"--kubeconfig={cluster.kubeconfig}", *arguments]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=300, check=False)


def _wait(cluster: Cluster) -> None:
    """Wait for the API server, apply what installers apply, and wait for the nodes."""
    outside.until(
        "the API server is ready", lambda: kubectl(cluster, "get", "--raw=/readyz").returncode == 0, READY_SECONDS
    )
    roles = json.dumps({"apiVersion": "v1", "kind": "List", "items": control_plane.roles()})
    _must(kubectl(cluster, "apply", "-f", "-", text=roles))
    for one in cluster.nodes:
        inside = outside.Inside(cluster, one)
        outside.until(f"containerd of {one.name} is there", partial(_has, inside, node.SOCKET), READY_SECONDS)
    load(cluster, cluster.folder / "busybox.tar")
    for one in cluster.nodes:
        outside.until(f"kubelet of {one.name} is registered", partial(_registered, cluster, one.name), READY_SECONDS)
    _must(kubectl(cluster, "wait", "--for=condition=Ready", "nodes", "--all", f"--timeout={READY_SECONDS:.0f}s"))
    default = ["-n", "default", "get", "serviceaccount", "default"]
    outside.until("service accounts are made", lambda: kubectl(cluster, *default).returncode == 0, READY_SECONDS)


def _registered(cluster: Cluster, name: str) -> bool:
    return kubectl(cluster, "get", "node", name).returncode == 0


def _has(inside: outside.Inside, path: str) -> bool:
    with contextlib.suppress(LookupError):
        return Path(f"{inside.root}{path}").exists()
    return False


def _must(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(done.args[2:])}: {done.stderr.strip()}")
    return done.stdout


def load(cluster: Cluster, archive: Path) -> None:
    """Import the images of an archive (OCI's or Docker's) on every node."""
    content = archive.read_bytes()
    for one in cluster.nodes:
        outside.Inside(cluster, one).run("ctr", "images", "import", "-", stdin=content)


def power_off(cluster: Cluster, name: str) -> None:
    """Power a node off: its processes, mounts and loop devices end, its disk stays."""
    machine = cluster.machine(name)
    outside.Inside(cluster, cluster.control_plane).stop(name)
    leftovers.detach_loop_devices(machine)


def power_on(cluster: Cluster, name: str) -> None:
    """Power a node on."""
    outside.Inside(cluster, cluster.control_plane).start(name)
    inside = outside.Inside(cluster, cluster.machine(name))
    outside.until(f"kubelet runs on {name}", lambda: _runs(inside, "kubelet"))


def _runs(inside: outside.Inside, component: str) -> bool:
    with contextlib.suppress(LookupError, FileNotFoundError):
        return component in inside.components()
    return False


def _keep_logs(cluster: Cluster) -> None:
    """Print the end of each component's log before it is removed."""
    for log in sorted(cluster.folder.rglob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        print(f"--- {log}", *lines, sep="\n", file=sys.stderr)


def _remove(name: str) -> None:
    cluster = saved(name)
    if cluster is None:
        if folder_of(name).exists():
            raise RuntimeError(f"{folder_of(name)} has no cluster.json; check it and remove it")
        return
    outside.switch_off(cluster)
    _ip("link", "delete", cluster.interface)
    for machine in cluster.nodes:
        leftovers.detach_loop_devices(machine)
    leftovers.remove_cgroups(cluster)
    _restore(cluster)
    leftovers.remove_files(cluster)


def _restore(cluster: Cluster) -> None:
    with contextlib.suppress(FileNotFoundError):
        leftovers.restore_settings(json.loads((cluster.folder / "settings.json").read_text(encoding="utf-8")))
