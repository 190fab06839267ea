"""
Build the images of the storage tests' pods without a registry.

They are one layer under several names: Debian's static busybox; GNU dd instead of busybox's, which does not support
``oflag=nocache``; bash as the shell, since busybox's prefers its own dd to that on PATH; and agnhost, built from
Kubernetes' module.
"""

import subprocess
from pathlib import Path
from typing import Final

from hack.cluster.images import Archive, busybox_layer

PROGRAMS: Final = {"bin/dd": "/bin/dd", "bin/sh": "/bin/bash"}
"""Path in the image → program of this machine, copied with its libraries."""

SHELLS: Final = ("busybox", "glibc-dns-testing", "nginx")
"""The images of which the storage tests use only the shell."""

AGNHOST: Final = "agnhost"
REGISTRY: Final = "registry.k8s.io/"


def names(listing: str) -> list[str]:
    """
    Choose those that the storage tests use from what ``e2e.test --list-images`` printed.

    Raises ValueError when one of them is not listed.
    """
    listed = [line.strip() for line in listing.splitlines() if line.strip().startswith(REGISTRY)]
    wanted = (*SHELLS, AGNHOST)
    if missing := [each for each in wanted if each not in {_base(name) for name in listed}]:
        raise ValueError(
            f"e2e.test --list-images names no image {', '.join(missing)}; see hack/storage_suite/images.py"
        )
    return [name for name in listed if _base(name) in wanted]


def _base(name: str) -> str:
    """Return the last part of an image's name, without its tag."""
    return name.rpartition("/")[2].partition(":")[0]


def write(target: Path, listed: list[str], agnhost: Path) -> None:
    """Write an archive with an image under each of the names."""
    paths = dict(PROGRAMS)
    for program in PROGRAMS.values():
        paths |= {library.lstrip("/"): library for library in _libraries(program)}
    programs = {inside: Path(path).read_bytes() for inside, path in paths.items()}
    archive = Archive()
    layer = archive.add(busybox_layer({**programs, AGNHOST: agnhost.read_bytes()}))
    for name in listed:
        if _base(name) == AGNHOST:
            archive.image(name, layer, ["pause"], entrypoint=[f"/{AGNHOST}"])
        else:
            archive.image(name, layer, ["sh"])
    archive.write(target)


def _libraries(program: str) -> list[str]:
    """Return the paths of the shared libraries that a program is loaded with, its loader included."""
    printed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for line in printed.splitlines() for word in line.split() if word.startswith("/")]
