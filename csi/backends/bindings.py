"""NodePublishVolume for mounted volumes, the same for every backend: a bind mount of the staging directory."""

import stat
from collections.abc import Sequence
from pathlib import Path

from csi.backends.protocol import HealthIssue
from csi.host import mounts
from csi.host.errors import AlreadyMountedError, UnsafePathError


def publish(*, staging: Path, target: Path, read_only: bool, mount_flags: Sequence[str]) -> None:
    """Bind-mount `staging` at `target`. Raises MountError, AlreadyMountedError, UnsafePathError."""
    mounted = mounts.at(target) if mounts.is_mount(target) else None
    if mounted is not None:
        staged = mounts.at(staging)
        same = staged is not None and (mounted.device, mounted.root) == (staged.device, staged.root)
        # a bind mount inherits the flags of its source mount
        inherited_read_only = staged is not None and staged.read_only
        if same and mounted.read_only == (read_only or inherited_read_only or "ro" in mount_flags):
            return
        raise AlreadyMountedError(f"another filesystem is already mounted at {target}; unmount it first")
    create_target(target)
    options = [flag for flag in mount_flags if flag in mounts.PER_MOUNT]
    mounts.bind(staging, target, options=[*options, *(["ro"] if read_only and "ro" not in options else [])])


def create_target(target: Path, *, file: bool = False) -> None:
    """
    Create the mount point, a directory or an empty file. The parent directory belongs to the caller.

    An existing mount point has to be empty, since a mount would hide its contents. Raises UnsafePathError, also where
    the path cannot be used for another reason, since the caller chose it.
    """
    try:
        target.touch(mode=0o640, exist_ok=False) if file else target.mkdir(mode=0o750)
    except FileExistsError:
        mode = target.lstat().st_mode
        if not (stat.S_ISREG(mode) if file else stat.S_ISDIR(mode)):
            raise UnsafePathError(
                f"{target} exists and is not a {'file' if file else 'directory'}; remove it"
            ) from None
        if target.stat().st_size if file else any(target.iterdir()):
            raise UnsafePathError(
                f"{target} is not empty, and a mount would hide its contents; move them away"
            ) from None
    except (FileNotFoundError, NotADirectoryError):
        raise UnsafePathError(f"{target.parent} is not a directory, so nothing can be mounted below it") from None
    except OSError as error:
        raise UnsafePathError(f"the mount point {target} cannot be created: {error.strerror}") from error


def filesystem_issues(path: Path | None) -> list[HealthIssue]:
    """
    Return the health issues of the filesystem mounted at `path`: it was shut down, or became read-only after an error.

    A read-only mount of a writable filesystem was requested and is no issue. An xfs that shut down returns an error
    from stat and has no mark in its options.
    """
    mounted = mounts.at(path) if path is not None else None
    if path is None or mounted is None:
        return []
    if reason := "it was shut down" if mounted.shut_down else _stat_error(path):
        message = f"the filesystem at {path} cannot be accessed ({reason}); check the kernel's log for its errors"
        return [HealthIssue("INACCESSIBLE", "FilesystemShutDown", message)]
    if mounted.stopped_writing:
        message = f"the filesystem at {path} refuses writes; check the kernel's log for its errors"
        return [HealthIssue("DEGRADED", "FilesystemReadOnly", message)]
    return []


def _stat_error(path: Path) -> str:
    """Return why stat of a mount's root fails; "" when it succeeds."""
    try:
        path.stat()
    except OSError as error:
        return error.strerror or repr(error)
    return ""
