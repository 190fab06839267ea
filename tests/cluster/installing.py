"""Install Mooring on the cluster of the tests, with the commands of its guides."""

import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Final

import yaml

from tests.cluster.running import Running
from tests.conftest import ROOT
from tests.unit.deploy.rendering import DEPLOY, NAMESPACE, container, overlay

MOORING: Final = container(overlay("upstream"), "DaemonSet")["image"]


@cache
def image() -> Path:
    """Return the path of the archive with the image, building it unless it is cached."""
    done = subprocess.run([str(ROOT / "hack" / "image")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@cache
def load(cluster: Running) -> None:
    """Load the image on every node."""
    cluster.load(image())


def install(cluster: Running) -> float:
    """Install Mooring with pools that are created automatically; return the seconds until all its pods were Ready."""
    load(cluster)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "deploy"
        shutil.copytree(DEPLOY, copy)
        ours = copy / "overlays" / "upstream"
        kustomization = yaml.safe_load((ours / "kustomization.yaml").read_text(encoding="utf-8"))
        kustomization["components"].append("../../components/init-empty-pools")
        (ours / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
        start = time.monotonic()
        cluster.kubectl("apply", "--server-side", "-k", str(ours))
    wait(cluster)
    return time.monotonic() - start


def wait(cluster: Running) -> None:
    """Wait until the controller and the drivers are rolled out."""
    for workload in ("deployment/mooring-controller", "daemonset/mooring-driver"):
        cluster.kubectl("-n", NAMESPACE, "rollout", "status", workload, "--timeout=300s")


def uninstall(cluster: Running) -> None:
    """Uninstall Mooring; pools and retained volumes stay."""
    cluster.kubectl("delete", "--ignore-not-found", "-k", str(DEPLOY / "overlays" / "upstream"))
