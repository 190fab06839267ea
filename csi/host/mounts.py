"""
Mounts, by system call and by the kernel's mount table.

`os.path.ismount` does not detect a bind mount within one filesystem, so /proc/self/mountinfo is read instead. The table
can also be read when the mounted filesystem hangs or fails: a path counts as not mounted if it does not exist (ENOENT,
ENOTDIR) or if statx reports no mount point; after any other error the table decides. The calls use ctypes because
starting a process for each mount takes longer than the mount (docs/adr/0002).
"""

import ctypes
import errno
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from csi.host.errors import MountError, MountOptionsError, StillInUseError

MS_RDONLY: Final = 1
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
UMOUNT_NOFOLLOW: Final = 8

FLAGS: Final = {
    "ro": MS_RDONLY,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "mand": 64,
    "dirsync": 128,
    "nosymfollow": 256,
    "noatime": 1024,
    "nodiratime": 2048,
    "silent": 1 << 15,
    "relatime": 1 << 21,
    "iversion": 1 << 23,
    "strictatime": 1 << 24,
    "lazytime": 1 << 25,
}
"""Mount options that are flags of mount(2); any other is passed to the filesystem."""

DEFAULTS: Final = frozenset(
    {
        "rw",
        "suid",
        "dev",
        "exec",
        "async",
        "defaults",
        "atime",
        "diratime",
        "norelatime",
        "nostrictatime",
        "nolazytime",
        "symfollow",
        "noiversion",
        "loud",
        "nomand",
    }
)
"""Mount options that are the default of every mount."""

_TIMES: Final = frozenset({"noatime", "nodiratime", "relatime", "strictatime"})
PER_MOUNT: Final = frozenset({"ro", "nosuid", "nodev", "noexec", "nosymfollow"}) | _TIMES
"""Options that a bind mount can have independently of its filesystem."""

_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_STATX_DONT_SYNC: Final = 0x4000
_MOUNT_ROOT: Final = 0x2000
_STATX_BYTES: Final = 256
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the table: the mount point, the filesystem and its mounted directory, and the options of both."""

    mount_id: int
    device: tuple[int, int]
    root: str
    target: Path
    options: frozenset[str]
    fs_type: str
    source: str
    super_options: frozenset[str]

    @property
    def read_only(self) -> bool:
        """Whether this mount refuses writes, even if its filesystem is writable."""
        return "ro" in self.options

    @property
    def stopped_writing(self) -> bool:
        """Whether the filesystem refuses writes, as after an error; since Linux 6.15 ext4 has it beside ``rw``."""
        return bool(self.super_options & {"ro", "emergency_ro"})

    @property
    def shut_down(self) -> bool:
        """Whether the filesystem reports that it was shut down and refuses all access (ext4, Linux 6.15)."""
        return "shutdown" in self.super_options


def parse(line: str) -> Mount:
    """Parse one line of proc(5) mountinfo."""
    own, _, rest = line.partition(" - ")
    fields, last = own.split(" "), rest.split(" ")
    major, _, minor = fields[2].partition(":")
    return Mount(
        mount_id=int(fields[0]),
        device=(int(major), int(minor)),
        root=unescape(fields[3]),
        target=Path(unescape(fields[4])),
        options=frozenset(fields[5].split(",")),
        fs_type=last[0],
        source=unescape(last[1]),
        super_options=frozenset(last[2].split(",")),
    )


def unescape(text: str) -> str:
    """Replace the octal escapes of the table."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)


@dataclass(frozen=True, slots=True)
class Location:
    """Location of a directory, as in the table: its filesystem's device, and the path from the filesystem's root."""

    device: tuple[int, int]
    root: str


def table() -> tuple[Mount, ...]:
    """Return all mounts in this process's mount namespace, in the order of their creation."""
    return tuple(_parsed(_lines()))


def _lines() -> list[str]:
    # unbounded: the kernel limits the table itself (fs.mount-max)
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]


def _parsed(lines: Sequence[str]) -> Iterator[Mount]:
    """Parse lines; skip one that cannot be parsed, since a filesystem's options may contain any text, or a newline."""
    for line in lines:
        try:
            yield parse(line)
        except (ValueError, IndexError):
            continue


def at(path: Path) -> Mount | None:
    """Return the topmost mount at exactly this path, or None. Parses only lines that contain its name, to be fast."""
    requested = resolved_parent(path)
    last = f"{escape(path.name)} "
    found = list(_parsed([line for line in _lines() if last in line]))
    return next((mount for mount in reversed(found) if mount.target == requested), None)


def resolved_parent(path: Path) -> Path:
    """Resolve links in the parent directories, not the path itself; unchanged where a parent cannot be read."""
    try:
        return path.parent.resolve() / path.name
    except (OSError, RuntimeError):  # a RuntimeError for a loop of symbolic links
        return path


def covering(path: Path) -> Mount | None:
    """
    Return the mount that contains the path, by the mount table alone; None if there is none.

    The path need not exist; it is absolute and without symbolic links, as a pool's path is.
    """
    above = {escape(str(each)): each for each in (path, *path.parents)}
    lines = [line for line in _lines() if (line.split(" ", 5) + [""] * 6)[4] in above]
    return max(reversed(list(_parsed(lines))), key=lambda mount: len(mount.target.parts), default=None)


def location_of(path: Path) -> Location | None:
    """Return the location of an absolute path without symbolic links; None if no mount contains it."""
    mount = covering(path)
    if mount is None:
        return None
    rest = path.relative_to(mount.target).parts
    return Location(mount.device, str(Path(mount.root, *rest)))


def is_mount(path: Path) -> bool:
    """
    Report whether a filesystem is mounted at exactly this path: by statx, and by the table where statx fails.

    Source: statx(2), STATX_ATTR_MOUNT_ROOT, in Linux since 5.8.
    """
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    how = _AT_SYMLINK_NOFOLLOW | _AT_STATX_DONT_SYNC
    if _libc.statx(_AT_FDCWD, os.fsencode(path), how, 0, buffer) != 0:
        return ctypes.get_errno() not in {errno.ENOENT, errno.ENOTDIR} and at(path) is not None
    attributes, known = struct.unpack_from("=Q", buffer, 8)[0], struct.unpack_from("=Q", buffer, 56)[0]
    if not known & _MOUNT_ROOT:
        return at(path) is not None
    return bool(attributes & _MOUNT_ROOT)


def escape(text: str) -> str:
    """Escape a path as in the table."""
    return "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in text)


def flags_and_data(options: Sequence[str]) -> tuple[int, str]:
    """Split mount options into flags of mount(2) and options of the filesystem."""
    flags, data = 0, []
    for option in (part for each in options for part in each.split(",") if part):
        if option in FLAGS:
            flags |= FLAGS[option]
        elif option not in DEFAULTS:
            data.append(option)
    return flags, ",".join(data)


def mount(source: str, target: Path, *, fs_type: str, options: Sequence[str]) -> None:
    """Mount a filesystem. Raises MountError, MountOptionsError."""
    flags, data = flags_and_data(options)
    _mount(source, target, fs_type=fs_type, flags=flags, data=data, optional=bool(flags or data))


def bind(source: Path, target: Path, *, options: Sequence[str] = ()) -> None:
    """
    Bind-mount a directory or file at another path, with options for that mount only.

    Raises MountError, MountOptionsError, and then nothing stays mounted. The kernel accepts the options only in a
    remount, which repeats the flags of the source's mount, because a user namespace may not remove them.
    """
    refused = [each for each in options if each not in PER_MOUNT and each not in DEFAULTS]
    if refused:
        raise MountError(
            f"a bind mount cannot have the option {refused[0]}; it can have {', '.join(sorted(PER_MOUNT))}"
        )
    _mount(str(source), target, flags=MS_BIND)
    requested, _ = flags_and_data(options)
    if not requested:
        return
    mounted = at(target)
    current, _ = flags_and_data(sorted(mounted.options & PER_MOUNT) if mounted else ())
    try:
        _mount("none", target, flags=MS_BIND | MS_REMOUNT | current | requested, optional=True)
    except MountError:
        unmount(target)
        raise


def unmount(target: Path) -> None:
    """Unmount all mounts at the path, if there are any. Raises MountError, StillInUseError."""
    while is_mount(target):
        unmount_top(target)


def unmount_top(target: Path) -> None:
    """Unmount the topmost mount at the path, if there is one. Raises MountError, StillInUseError."""
    if _libc.umount2(os.fsencode(target), UMOUNT_NOFOLLOW) == 0:
        return
    problem = ctypes.get_errno()
    if problem == errno.EBUSY:
        raise StillInUseError(f"{target} cannot be unmounted: {os.strerror(problem)}; a process still uses it")
    if problem in {errno.EINVAL, errno.ENOENT} and at(target) is None:
        return
    raise MountError(f"{target} cannot be unmounted: {os.strerror(problem)}")


def _mount(
    source: str, target: Path, *, fs_type: str = "", flags: int = 0, data: str = "", optional: bool = False
) -> None:
    """Mount. Raises MountError, and MountOptionsError where `optional` flags or data may be the reason."""
    done = _libc.mount(
        os.fsencode(source), os.fsencode(target), fs_type.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    if done != 0:
        number = ctypes.get_errno()
        kind = f" as {fs_type}" if fs_type else ""
        with_options = f" with {data}" if data else ""
        hint = "; check the kernel's log for the reason" if fs_type else ""
        message = f"{source} cannot be mounted at {target}{kind}{with_options}: {os.strerror(number)}"
        if optional and number in {errno.EINVAL, errno.EPERM}:
            raise MountOptionsError(f"{message}; the kernel may not accept the mount options, so try without them")
        raise MountError(f"{message}{hint}")
