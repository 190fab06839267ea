"""Publishing a mounted volume, the same for every backend: a bind mount of the staged directory."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from csi.backends.protocol import Ailment
from csi.host import mounts
from csi.host.errors import MountFailed, UnsafePath


def publish(*, staging: Path, target: Path, read_only: bool, mount_flags: Sequence[str]) -> None:
    """Show what is staged at `target`. Raises MountFailed, UnsafePath."""
    if mounts.is_mount(target):
        there = mounts.at(target)
        same = os.path.samestat(staging.stat(), target.stat())
        if same and there is not None and there.read_only == read_only:
            return
        raise MountFailed(f"something else is mounted at {target} already")
    make_target(target)
    own = [flag for flag in mount_flags if flag in mounts.PER_MOUNT]
    mounts.bind(staging, target, options=[*own, *(["ro"] if read_only and "ro" not in own else [])])


def make_target(target: Path, *, file: bool = False) -> None:
    """Make the mount point, a directory or an empty file. The caller owns the directory above it."""
    try:
        target.touch(mode=0o640, exist_ok=False) if file else target.mkdir(mode=0o750)
    except FileExistsError:
        if target.is_symlink() or file == target.is_dir():
            raise UnsafePath(f"{target} is there already and no {'file' if file else 'directory'}; remove it") from None
    except FileNotFoundError:
        raise UnsafePath(f"{target.parent} does not exist, so nothing can be shown below it") from None


def unpublish(*, target: Path) -> None:
    """Unmount and remove the mount point alone: a file left below it is somebody's, and stays."""
    if target.is_symlink():
        raise UnsafePath(f"{target} is a link; it is left alone")
    try:
        mounts.unmount(target)
        target.rmdir()
    except FileNotFoundError:
        return
    except NotADirectoryError:
        target.unlink(missing_ok=True)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            message = f"{target} holds files that are not the volume's; move them away, then it can be removed"
            raise UnsafePath(message) from None
        raise


def read_only_ailments(path: Path | None) -> list[Ailment]:
    """A filesystem that turned read-only by itself; a read-only mount of a writable one is as somebody wanted it."""
    there = mounts.at(path) if path is not None else None
    if there is None or "ro" not in there.super_options:
        return []
    message = f"the filesystem at {path} takes no more writes; look for its errors in the kernel's log"
    return [Ailment("DEGRADED", "FilesystemReadOnly", message)]
