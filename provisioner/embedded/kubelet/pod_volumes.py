"""Decide which volumes of a pod to mount, from the API objects alone."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from provisioner.model.kinds import Json, Object
from provisioner.model.names import DRIVER
from provisioner.model.pod import ClaimVolume, claims_of

NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
"""A DNS-1123 subdomain, which is safe as a file name."""


@dataclass(frozen=True, slots=True)
class DesiredVolume:
    """One volume of the pod, with the parameters for the Node service."""

    volume: str
    volume_object: str
    handle: str
    modes: tuple[str, ...]
    volume_mode: str
    fs_type: str
    mount_flags: tuple[str, ...]
    context: tuple[tuple[str, str], ...]
    read_only: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """The reason why the pod's volumes cannot be mounted; `final` when it will not change."""

    why: str
    final: bool = False


def desired_volumes(
    pod: Object, *, claim: Callable[[str], Json | None], volume: Callable[[str], Json | None]
) -> list[DesiredVolume] | Missing:
    """Return the pod's volumes if all its claims are bound to volumes of Mooring's driver, or else what is missing."""
    desired: list[DesiredVolume] = []
    metadata = pod["metadata"]
    if not all(NAME.fullmatch(part) for part in (metadata["namespace"], metadata["name"])):
        return Missing("the pod's name cannot be used as a directory name", final=True)
    for each in claims_of(pod):
        found = claim(each.claim)
        if refusal := each.refusal(pod, found):
            return Missing(refusal)
        assert found is not None  # noqa: S101 # a missing claim is refused above
        result = _desired(each, found, volume)
        if isinstance(result, Missing):
            return result
        desired.append(result)
    return desired


def _desired(mount: ClaimVolume, claim: Object, volume_of: Callable[[str], Json | None]) -> DesiredVolume | Missing:
    name, claim_name = mount.name, mount.claim
    if not NAME.fullmatch(name):
        return Missing(f"the volume name {name!r} cannot be used as a directory name", final=True)
    volume_name = claim["spec"].get("volumeName", "")
    if claim.get("status", {}).get("phase") != "Bound" or not volume_name:
        return Missing(f"claim {claim_name} is not bound")
    volume = volume_of(volume_name)
    if volume is None:
        return Missing(f"volume {volume_name} of claim {claim_name} does not exist")
    spec = volume["spec"]
    if (spec.get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
        return Missing(f"volume {volume_name} is not bound to this claim {claim_name}")
    source = spec.get("csi") or {}
    if source.get("driver") != DRIVER:
        return Missing(
            f"volume {volume_name} of claim {claim_name} is not of this engine's driver; only {DRIVER} is served",
            final=True,
        )
    return DesiredVolume(
        volume=name,
        volume_object=volume_name,
        handle=source["volumeHandle"],
        modes=tuple(spec.get("accessModes") or ()),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        fs_type=source.get("fsType", ""),
        mount_flags=tuple(spec.get("mountOptions") or ()),
        context=tuple(sorted((source.get("volumeAttributes") or {}).items())),
        read_only=mount.read_only or bool(source.get("readOnly")),
    )
