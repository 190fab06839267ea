"""The contents of the image, seen from a container."""

import pytest

from csi.host.commands import PACKAGES
from tests.cluster.installing import MOORING, load
from tests.cluster.objects import pod
from tests.cluster.running import Running
from tests.unit.deploy.rendering import container, of_kind, overlay

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(1200)]

LOOK = """
import os, shutil, stat, sys
programs = sys.argv[1:]
print("missing", [each for each in programs if not shutil.which(each)])
print("shells", [each for each in ("sh", "bash", "dash", "perl", "apt", "dpkg", "gcc", "pip") if shutil.which(each)])
powerful = []
for folder, _, files in os.walk("/"):
    if folder.startswith(("/proc", "/sys", "/dev")):
        continue
    for name in files:
        mode = os.lstat(os.path.join(folder, name)).st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            powerful.append(name)
print("powerful", powerful)
print("user", os.getuid(), os.getgid())
"""


@pytest.fixture
def finished_pods(cluster: Running, namespace: str) -> Running:
    """Run the image with the controller's security context until its pods have succeeded; return the cluster."""
    load(cluster)
    (deployment,) = of_kind(overlay("upstream"), "Deployment")
    security = container(overlay("upstream"), "Deployment")["securityContext"]
    look = {
        "name": "main", "image": MOORING, "securityContext": security,
        "command": ["python3", "-c", LOOK, *PACKAGES], "args": None,
    }  # fmt: skip
    version = {"name": "version", "image": MOORING, "securityContext": security, "args": ["version", "--client"]}
    for each in (look, version):
        made = pod(each["name"], restartPolicy="Never")
        made["spec"]["containers"] = [each]
        made["spec"]["securityContext"] = deployment["spec"]["template"]["spec"]["securityContext"]
        cluster.apply(namespace, made)
    names = ["pod/main", "pod/version"]
    cluster.kubectl("-n", namespace, "wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s", *names)
    return cluster


def test_it_has_the_programs_of_the_driver_and_no_shell(finished_pods: Running, namespace: str) -> None:
    """No program has the setuid or setgid bit."""
    assert finished_pods.kubectl("-n", namespace, "logs", "main").splitlines() == [
        "missing []",
        "shells []",
        "powerful []",
        "user 65532 65532",
    ]
    assert finished_pods.kubectl("-n", namespace, "logs", "version").startswith("mooring ")
