"""`mooring path`: the path of a pod's or claim's mounted volume, which works from the caller's shell."""

import json
import os
import re
import sys
from pathlib import Path

import click

from provisioner.cli.exits import FAILED, USAGE, CommandError
from provisioner.cli.options import Target, with_target
from provisioner.model.kinds import POD
from provisioner.model.pod import Pod


@click.command("path")
@click.argument("subject")
@click.argument("volume", required=False)
@with_target
def command(*, subject: str, volume: str | None, target: Target) -> None:
    """
    Print where a volume is mounted.

    SUBJECT is a pod, with the name of one of its volumes if it has several, or claim/NAME. The path is a directory, or
    a block device for a raw block volume. A volume that is not mounted now is an error.
    """
    state = target.client.server.kubeconfig.parent.absolute()
    if not (state / "pods").is_dir():
        raise CommandError("paths are known only for the embedded engine, on the machine that it runs on", code=FAILED)
    kind, slash, name = subject.rpartition("/")
    if slash and kind not in {"pod", "claim", "pvc"}:
        raise CommandError(f"{subject!r} is neither POD nor claim/NAME", code=USAGE)
    pod, mounted_as = _of_claim(target, name) if kind in {"claim", "pvc"} else _of_pod(target, name, volume)
    path = state / "pods" / target.namespace / pod / mounted_as
    engine_pid = _pid_with_mounts(state)
    if str(path.resolve()) not in _mount_points(engine_pid or "self"):
        message = f"volume {mounted_as} of pod {pod} is not mounted now; `mooring explain pod {pod}` shows why"
        raise CommandError(message)
    sys.stdout.write(f"/proc/{engine_pid}/root{path}\n" if engine_pid else f"{path}\n")


def _of_pod(target: Target, name: str, volume: str | None) -> tuple[str, str]:
    pod = Pod.of(target.client.get(POD, namespace=target.namespace, name=name))
    volumes = list(pod.claims)
    if volume is None and len(volumes) == 1:
        return name, volumes[0]
    if volume is None or volume not in volumes:
        shown = ", ".join(volumes) or "none"
        raise CommandError(f"name one of the volumes of pod {name} that are from claims: {shown}", code=USAGE)
    return name, volume


def _of_claim(target: Target, claim: str) -> tuple[str, str]:
    for item in target.client.get(POD, namespace=target.namespace).get("items") or []:
        pod = Pod.of(item)
        for volume, name in pod.claims.items():
            if name == claim and not pod.deleting:
                return pod.name, volume
    raise CommandError(f"no pod mounts claim {claim}, so it has no path")


def _pid_with_mounts(state: Path) -> str:
    """
    Return the engine's process id if its mounts are visible only in its mount namespace, else "".

    An engine without root has a separate mount namespace; its mounts are reached through /proc/PID/root.
    """
    try:
        # unbounded: a file of the engine's own state
        lock_file = json.loads((state / "holder.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        message = f"the engine of {state} is not running, so nothing is mounted; start it with `mooring up`"
        raise CommandError(message) from None
    return str(lock_file["pid"]) if lock_file.get("rootless") and not _shares_mounts_with(lock_file["pid"]) else ""


def _mount_points(process: str) -> set[str]:
    """
    Return the mount points in a process's mount namespace; an empty set when the process does not exist.

    Only the mount table proves a mount: the directory exists before the volume is mounted, and after a failed mount.
    """
    try:
        # unbounded: the kernel's table, which fs.mount-max bounds
        table = Path(f"/proc/{process}/mountinfo").read_bytes()
    except OSError:
        return set()
    return {_unescaped(line.split(b" ")[4]) for line in table.splitlines()}


def _unescaped(field: bytes) -> str:
    """Return a field of proc(5) mountinfo with its octal escapes, such as those of blanks and backslashes, decoded."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field))


def _shares_mounts_with(pid: int) -> bool:
    """Report whether this process is in the mount namespace of process `pid`."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino == os.stat("/proc/self/ns/mnt").st_ino  # noqa: PTH116
    except OSError:
        return False
