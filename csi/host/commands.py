"""
Execution of programs: argv lists, a fixed locale, no input, and a time limit for each kind of work.

No program outlives the driver: setpriv(1) makes the kernel kill it when the thread that started it ends, and that
thread waits for it. Child processes of a program are not covered, so none of the programs may be a shell script. Since
a driver may be killed before setpriv ran, the next driver relies on the image's lock (`locks`), which programs inherit.
"""

import enum
import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from csi import limits
from csi.host.errors import CommandError, CommandNotFoundError, CommandTimeoutError

PACKAGES: Final = {
    "blkid": "util-linux",
    "btrfs": "btrfs-progs",
    "btrfstune": "btrfs-progs",
    "e2fsck": "e2fsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "resize2fs": "e2fsprogs",
    "setpriv": "util-linux",
    "tune2fs": "e2fsprogs",
    "xfs_db": "xfsprogs",
    "xfs_growfs": "xfsprogs",
}
"""Program → Debian package: all programs that the driver runs. The container image is checked against it."""

_OUTPUT_LIMIT: Final = limits.PROGRAM_CHARACTERS

_KILLED_WITH_DRIVER: Final = ("setpriv", "--pdeathsig", "KILL", "--")


class Limit(enum.Enum):
    """Seconds that a program may take. The caller of the RPC may stop waiting much sooner."""

    QUERY = 10.0
    FORMAT = 600.0
    CHECK = 3600.0


@dataclass(frozen=True, slots=True)
class Completed:
    """Result of a program; `exit_code` is one of those that the caller accepts."""

    exit_code: int
    stdout: str
    stderr: str


def run(argv: Sequence[str], *, limit: Limit, ok: Collection[int] = (0,), inherit: Sequence[int] = ()) -> Completed:
    """
    Run a program until it exits.

    It runs in a new process group, so that its child processes are killed with it; it is killed when this thread ends.
    `inherit` are file descriptors that it keeps open, such as the lock of the image that it works on. Raises
    CommandNotFoundError, CommandTimeoutError, and CommandError for an exit code not in `ok`.
    """
    for program in (argv[0], _KILLED_WITH_DRIVER[0]):
        _require(program)
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(
        [*_KILLED_WITH_DRIVER, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=inherit,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=limit.value)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            message = f"{argv[0]} did not end within {limit.value:g} seconds and was killed"
            raise CommandTimeoutError(message) from None
    if process.returncode not in ok:
        raise CommandError(argv=argv, exit_code=process.returncode, stderr=stderr[-_OUTPUT_LIMIT:])
    return Completed(process.returncode, stdout[-_OUTPUT_LIMIT:], stderr[-_OUTPUT_LIMIT:])


def _require(program: str) -> None:
    """Raise CommandNotFoundError for a program that is not installed."""
    if shutil.which(program) is None:
        package = PACKAGES.get(program, program)
        raise CommandNotFoundError(f"the program {program} is not installed; install the package {package}")
