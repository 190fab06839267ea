"""`mooring path`: where a pod's or claim's volume is mounted, as a path that works from the caller's shell."""

import json
import os
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

    SUBJECT is a pod, with the name of one of its volumes if it has several, or claim/NAME.
    """
    state = target.client.server.kubeconfig.parent
    if not (state / "pods").is_dir():
        raise CommandFailed("paths can be told only for the embedded engine, on its own machine", code=FAILED)
    kind, slash, name = subject.rpartition("/")
    if slash and kind not in {"pod", "claim", "pvc"}:
        raise CommandFailed(f"{subject!r} is neither POD nor claim/NAME", code=USAGE)
    pod, mounted_as = _of_claim(target, name) if kind in {"claim", "pvc"} else _of_pod(target, name, volume)
    directory = _seen_from_here(state, state / "pods" / target.namespace / pod / mounted_as)
    if not directory.is_dir():
        message = f"volume {mounted_as} of pod {pod} is not mounted now; `mooring explain pod {pod}` says why"
        raise CommandFailed(message)
    sys.stdout.write(f"{directory}\n")


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


def _seen_from_here(state: Path, path: Path) -> Path:
    """Mounts of an engine without root are seen only through its own process."""
    try:
        holder = json.loads((state / "holder.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        message = f"the engine of {state} is not running, so nothing is mounted; start it with `mooring up`"
        raise CommandFailed(message) from None
    return Path(f"/proc/{holder['pid']}/root{path}") if holder.get("rootless") and not _inside(holder["pid"]) else path


def _inside(pid: int) -> bool:
    """Whether we share the engine's mount namespace."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino == os.stat("/proc/self/ns/mnt").st_ino  # noqa: PTH116
    except OSError:
        return False
