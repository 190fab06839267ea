"""
Run the engine without root in a new user and mount namespace, where it may bind-mount directories.

Mounts in the namespace are visible from outside only through ``/proc/<pid>/root``.
"""

import os
import shutil
import subprocess
import sys

import msgspec

from csi.logs import LossyStream
from provisioner.embedded.settings import BadEnvironmentError, UpSettings

PROBE_SECONDS = 10.0

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "--")


def missing() -> str:
    """Return why this user cannot create a user and mount namespace on this machine, "" when it can."""
    if shutil.which(UNSHARE[0]) is None:
        return "the program unshare is missing (Debian and Ubuntu have it in the package util-linux)"
    try:
        probe = subprocess.run(
            [*UNSHARE, "true"], check=False, capture_output=True, text=True, timeout=PROBE_SECONDS, env=_plain()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unshare did not run: {error}"
    if probe.returncode == 0:
        return ""
    lines = probe.stderr.strip().splitlines()
    return (
        f"user namespaces are not available to this user ({lines[-1] if lines else 'unshare failed'}; see the sysctls "
        "user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)"
    )


def enter(settings: UpSettings) -> None:
    """
    Execute this program again with the same process id inside a user and mount namespace; do not return.

    Raises BadEnvironmentError when such a namespace cannot be created.
    """
    if reason := missing():
        raise BadEnvironmentError(f"without root the engine needs a user namespace: {reason}; or start it as root")
    inside = msgspec.structs.replace(settings, rootless=True)
    argv = [*UNSHARE, sys.executable, "-m", "provisioner.embedded", msgspec.json.encode(inside).decode()]
    LossyStream(sys.stderr).flush()
    os.execvp(argv[0], argv)  # noqa: S606 - without a shell


def _plain() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C"}
