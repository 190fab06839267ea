"""`mooring path`: where a pod's or claim's volume is mounted, as a path that works from the caller's shell."""

import json
import os
import re
import sys
from pathlib import Path

import click

from provisioner.cli.exits import FAILED, USAGE, CommandFailed
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
    a block device for a raw volume; nothing is printed for what is not mounted now.
    """
    state = target.client.server.kubeconfig.parent.absolute()
    if not (state / "pods").is_dir():
        raise CommandFailed("paths can be told only for the embedded engine, on its own machine", code=FAILED)
    kind, slash, name = subject.rpartition("/")
    if slash and kind not in {"pod", "claim", "pvc"}:
        raise CommandFailed(f"{subject!r} is neither POD nor claim/NAME", code=USAGE)
    pod, mounted_as = _of_claim(target, name) if kind in {"claim", "pvc"} else _of_pod(target, name, volume)
    path = state / "pods" / target.namespace / pod / mounted_as
    outside = _process_to_look_through(state)
    if str(path.resolve()) not in _mount_points(outside or "self"):
        message = f"volume {mounted_as} of pod {pod} is not mounted now; `mooring explain pod {pod}` says why"
        raise CommandFailed(message)
    sys.stdout.write(f"/proc/{outside}/root{path}\n" if outside else f"{path}\n")


def _of_pod(target: Target, name: str, volume: str | None) -> tuple[str, str]:
    pod = Pod.of(target.client.get(POD, namespace=target.namespace, name=name))
    volumes = list(pod.claims)
    if volume is None and len(volumes) == 1:
        return name, volumes[0]
    if volume is None or volume not in volumes:
        shown = ", ".join(volumes) or "none"
        raise CommandFailed(f"pod {name} has these volumes from claims: {shown}; name one", code=USAGE)
    return name, volume


def _of_claim(target: Target, claim: str) -> tuple[str, str]:
    for item in target.client.get(POD, namespace=target.namespace).get("items") or []:
        pod = Pod.of(item)
        for volume, name in pod.claims.items():
            if name == claim and not pod.deleting:
                return pod.name, volume
    raise CommandFailed(f"no pod mounts claim {claim}, so it has no path now")


def _process_to_look_through(state: Path) -> str:
    """
    The engine's process id when its mounts are seen only through it, "" when they are seen from here.

    That is so for an engine without root, which has a mount namespace of its own.
    """
    try:
        # unbounded: a file of the engine's own state
        holder = json.loads((state / "holder.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        message = f"the engine of {state} is not running, so nothing is mounted; start it with `mooring up`"
        raise CommandFailed(message) from None
    return str(holder["pid"]) if holder.get("rootless") and not _inside(holder["pid"]) else ""


def _mount_points(process: str) -> set[str]:
    """
    Where something is mounted in a process's mount namespace; nothing when the process is gone.

    The mount table alone says so: a directory is there before its volume is mounted, and stays when that fails.
    """
    try:
        # unbounded: the kernel's own table, which fs.mount-max bounds
        table = Path(f"/proc/{process}/mountinfo").read_bytes()
    except OSError:
        return set()
    return {_unescaped(line.split(b" ")[4]) for line in table.splitlines()}


def _unescaped(field: bytes) -> str:
    """A field of proc(5) mountinfo: blanks and backslashes stand there as octal numbers."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field))


def _inside(pid: int) -> bool:
    """Whether we share the engine's mount namespace."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino == os.stat("/proc/self/ns/mnt").st_ino  # noqa: PTH116
    except OSError:
        return False
