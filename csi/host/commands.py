"""Programs: argv lists, a fixed locale, no input, and a limit of its own for each kind of work."""

import enum
import os
import signal
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from csi.host.errors import CommandError, CommandMissing, CommandTimeout

PACKAGES: Final = {
    "blkid": "util-linux",
    "btrfs": "btrfs-progs",
    "e2fsck": "e2fsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "resize2fs": "e2fsprogs",
    "xfs_growfs": "xfsprogs",
}
"""Program → Debian package: all that the driver runs. The image is checked against it."""

_KEPT_OUTPUT: Final = 4000


class Limit(enum.Enum):
    """How long a program may take, in seconds. The caller of the RPC may stop waiting much sooner."""

    QUERY = 10.0
    FORMAT = 600.0
    CHECK = 3600.0


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program said; `exit_code` is one of those that were asked for."""

    exit_code: int
    stdout: str
    stderr: str


def run(argv: Sequence[str], *, limit: Limit, ok: Collection[int] = (0,)) -> Completed:
    """
    Run a program to its end. Raises CommandMissing, CommandTimeout, or CommandError for an exit code not in `ok`.

    It runs in a process group of its own, so that killing it kills what it started, too.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        package = PACKAGES.get(argv[0], argv[0])
        raise CommandMissing(f"the program {argv[0]} is not installed; install the package {package}") from None
    with process:
        try:
            stdout, stderr = process.communicate(timeout=limit.value)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            message = f"{argv[0]} did not end within {limit.value:g} seconds and was killed"
            raise CommandTimeout(message) from None
    if process.returncode not in ok:
        raise CommandError(argv=argv, exit_code=process.returncode, stderr=stderr[-_KEPT_OUTPUT:])
    return Completed(process.returncode, stdout[-_KEPT_OUTPUT:], stderr[-_KEPT_OUTPUT:])
