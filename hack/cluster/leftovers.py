"""What a cluster does to the machine that does not vanish with its processes, and how it is undone."""

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
"""What kubelet sets for the whole machine when it starts."""


def _hierarchies() -> list[Path]:
    """Every tree of cgroups: the one of version 2, or one for each controller."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if not path.is_symlink() and (path / "cgroup.procs").exists()]


def make_cgroups(path: str) -> None:
    """Make a group in every tree, with what a new one lacks: processors and memory (1), controllers (2)."""
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
    """Remove the cluster's groups, innermost first; the kernel needs a moment to see that their processes are gone."""
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
    """The kernel's settings before kubelet changes them."""
    return {name: _setting(name).read_text(encoding="ascii").strip() for name in SETTINGS}


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def restore_settings(before: dict[str, str]) -> None:
    """Put the kernel's settings back."""
    for name, value in before.items():
        if _setting(name).read_text(encoding="ascii").strip() != value:
            _setting(name).write_text(value, encoding="ascii")


def detach_loop_devices(machine: Machine) -> list[str]:
    """
    Detach every loop device whose file is on the machine's disk, as switching the power off does; tell which.

    The kernel remembers the file by the path that the machine saw, which the host does not know: device and inode tell.
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
    """One that goes by itself meanwhile, as its last mount ends with the machine's processes, is gone as well."""
    done = subprocess.run(["losetup", "--detach", device], capture_output=True, text=True, check=False)
    if done.returncode != 0 and Path("/sys/block", Path(device).name, "loop", "backing_file").exists():
        raise RuntimeError(f"{device} cannot be detached: {done.stderr.strip()}")


def remove_files(cluster: Cluster) -> None:
    """Remove the cluster's folder, unless something of it is still mounted."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    mounted = [line.split()[4] for line in table.splitlines() if str(cluster.folder) in line]
    if mounted:
        raise RuntimeError(
            f"{mounted[0]} is still mounted below {cluster.folder}; unmount it and run 'make cluster-down' again"
        )
    shutil.rmtree(cluster.folder, ignore_errors=False)
