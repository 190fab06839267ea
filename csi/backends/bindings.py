"""Publishing a mounted volume, the same for every backend: a bind mount of the staged directory."""

import stat
from collections.abc import Sequence
from pathlib import Path

from csi.backends.protocol import HealthIssue
from csi.host import mounts
from csi.host.errors import AlreadyMountedError, UnsafePathError


def publish(*, staging: Path, target: Path, read_only: bool, mount_flags: Sequence[str]) -> None:
    """Show what is staged at `target`. Raises MountFailed, AlreadyMounted, UnsafePath."""
    mounted = mounts.at(target) if mounts.is_mount(target) else None
    if mounted is not None:
        staged = mounts.at(staging)
        same = staged is not None and (mounted.device, mounted.root) == (staged.device, staged.root)
        inherited_read_only = (
            staged is not None and staged.read_only
        )  # a bind mount keeps the flags of the mount that it is of
        if same and mounted.read_only == (read_only or inherited_read_only or "ro" in mount_flags):
            return
        raise AlreadyMountedError(f"something else is mounted at {target} already")
    create_target(target)
    options = [flag for flag in mount_flags if flag in mounts.PER_MOUNT]
    mounts.bind(staging, target, options=[*options, *(["ro"] if read_only and "ro" not in options else [])])


def create_target(target: Path, *, file: bool = False) -> None:
    """
    Make the mount point, a directory or an empty file. The caller owns the directory above it.

    One that is there already has to be empty: a mount would hide what is in it. Raises UnsafePath, also for a path that
    cannot be used for another reason: it is the caller's.
    """
    try:
        target.touch(mode=0o640, exist_ok=False) if file else target.mkdir(mode=0o750)
    except FileExistsError:
        mode = target.lstat().st_mode
        if not (stat.S_ISREG(mode) if file else stat.S_ISDIR(mode)):
            raise UnsafePathError(
                f"{target} is there already and no {'file' if file else 'directory'}; remove it"
            ) from None
        if target.stat().st_size if file else any(target.iterdir()):
            raise UnsafePathError(
                f"{target} is not empty, and a mount would hide what is in it; move that away"
            ) from None
    except (FileNotFoundError, NotADirectoryError):
        raise UnsafePathError(f"{target.parent} is not a directory, so nothing can be mounted below it") from None
    except OSError as error:
        raise UnsafePathError(f"the mount point {target} cannot be made: {error.strerror}") from error


def filesystem_issues(path: Path | None) -> list[HealthIssue]:
    """
    A filesystem that stopped by itself; a read-only mount of a writable one is as somebody wanted it.

    An xfs that shut down answers stat with an error and says nothing in its options.
    """
    mounted = mounts.at(path) if path is not None else None
    if path is None or mounted is None:
        return []
    if reason := "it was shut down" if mounted.shut_down else _stat_error(path):
        message = f"the filesystem at {path} does not answer ({reason}); look for its errors in the kernel's log"
        return [HealthIssue("INACCESSIBLE", "FilesystemShutDown", message)]
    if mounted.stopped_writing:
        message = f"the filesystem at {path} takes no more writes; look for its errors in the kernel's log"
        return [HealthIssue("DEGRADED", "FilesystemReadOnly", message)]
    return []


def _stat_error(path: Path) -> str:
    """Return why the root of a mount cannot be looked at; "" when it can."""
    try:
        path.stat()
    except OSError as error:
        return error.strerror or repr(error)
    return ""
