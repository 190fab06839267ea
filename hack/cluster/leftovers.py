"""Undo the changes of a cluster to the machine that do not end with its processes."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from hack.cluster.place import Cluster, Machine

CGROUPS: Final = Path("/sys/fs/cgroup")
SETTINGS: Final = ("vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops")
"""The kernel settings that kubelet changes for the whole machine."""


def _hierarchies() -> list[Path]:
    """Return every tree of cgroups: the one of version 2, or one for each controller."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if not path.is_symlink() and (path / "cgroup.procs").exists()]


def make_cgroups(path: str) -> None:
    """Create a group in every tree, and initialise processors and memory (version 1) and controllers (version 2)."""
    for tree in _hierarchies():
        parent = tree
        for part in path.strip("/").split("/"):
            if (tree / "cgroup.controllers").exists():
                offered = (parent / "cgroup.controllers").read_text(encoding="ascii").split()
                _write(parent / "cgroup.subtree_control", " ".join(f"+{controller}" for controller in offered))
            group = parent / part
            group.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (parent / name).exists() and tree != CGROUPS:
                    _write(group / name, (parent / name).read_text(encoding="ascii").strip())
            parent = group


def _write(file: Path, text: str) -> None:
    if text:
        file.write_text(text, encoding="ascii")


def remove_cgroups(cluster: Cluster) -> None:
    """Remove the cluster's groups, innermost first; retry until the kernel has removed their processes."""
    for tree in _hierarchies():
        top = tree / f"mooring-{cluster.name}"
        groups = [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]
        for group in groups:
            for attempt in range(50):
                try:
                    group.rmdir()
                    break
                except OSError:
                    if attempt == 49:
                        raise
                    time.sleep(0.1)


def settings() -> dict[str, str]:
    """Return the kernel's settings before kubelet changes them."""
    return {name: _setting(name).read_text(encoding="ascii").strip() for name in SETTINGS}


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def restore_settings(before: dict[str, str]) -> None:
    """Restore the kernel's settings."""
    for name, value in before.items():
        if _setting(name).read_text(encoding="ascii").strip() != value:
            _setting(name).write_text(value, encoding="ascii")


def detach_loop_devices(machine: Machine) -> list[str]:
    """
    Detach every loop device whose file is on the machine's disk, as a power failure does; return them.

    The kernel has the path of the file in the machine, which differs on the host, so device and inode are compared.
    """
    listing = subprocess.run(
        ["losetup", "--list", "--json", "--output", "NAME,BACK-INO,BACK-MAJ:MIN"],
        capture_output=True,
        text=True,
        check=True,
    )
    attached = json.loads(listing.stdout or '{"loopdevices": []}')["loopdevices"]
    if not attached:
        return []
    ours = set()
    for folder, _, files in os.walk(machine.disk / "mooring"):
        for name in files:
            status = os.lstat(Path(folder, name))
            ours.add((status.st_ino, f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"))
    found = [one["name"] for one in attached if (int(one["back-ino"] or 0), str(one["back-maj:min"]).strip()) in ours]
    for device in found:
        _detach(device)
    return found


def _detach(device: str) -> None:
    """Detach a loop device, unless it is detached meanwhile with its last mount."""
    done = subprocess.run(["losetup", "--detach", device], capture_output=True, text=True, check=False)
    if done.returncode != 0 and Path("/sys/block", Path(device).name, "loop", "backing_file").exists():
        raise RuntimeError(f"{device} cannot be detached: {done.stderr.strip()}")


def remove_files(cluster: Cluster) -> None:
    """Remove the cluster's folder. Raises an error while something is mounted in it."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    mounted = [line.split()[4] for line in table.splitlines() if str(cluster.folder) in line]
    if mounted:
        raise RuntimeError(
            f"{mounted[0]} is still mounted below {cluster.folder}; unmount it and run 'make cluster-down' again"
        )
    shutil.rmtree(cluster.folder, ignore_errors=False)
