"""
Image files: made whole or not at all, verified before use, enlarged without touching what is in them.

A thick image has blocks on the pool's disk for all of its bytes: reserved when it is made and when it grows, and again
before a device is attached, for those that it lost. In between nothing takes them away: a device over it passes no
discards on. Where the pool's filesystem writes elsewhere than it reserved (btrfs), this keeps room and no more.

All work on an image is done under its lock, so that two drivers, or a driver and a program of the one before it, never
work on one image.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from csi.backends.protocol import HealthIssue, Shape
from csi.host import files, filesystems, loopdev, superblocks
from csi.host.errors import HostError, NotBlankError
from csi.host.locks import Locked, locked
from csi.units import exact, readable

log = structlog.get_logger()

THICK = "thick"


def create(volume_dir: Path, shape: Shape) -> None:
    """
    Make the image under another name, format it, and only then call it ``image``.

    So an interrupted start over is harmless: what has the final name is whole, anything else was never used.
    """
    image, unfinished = volume_dir / "image", volume_dir / "image.new"
    if image.exists():
        with locked(image):
            verify(image, shape)
        return
    with contextlib.suppress(FileNotFoundError), locked(unfinished):
        unfinished.unlink()
    with files.reporting_no_space(volume_dir), unfinished.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(shape.size_bytes)
    if shape.provisioning == THICK:
        files.reserve(unfinished, size=shape.size_bytes)
    if shape.access_type == "mount":
        with locked(unfinished) as locked_image:
            filesystems.create(locked_image, fs_type=shape.fs_type, uuid=shape.fs_uuid, options=shape.options)
        if shape.provisioning == THICK:
            files.reserve(unfinished, size=shape.size_bytes)  # programs that make filesystems punch holes, too
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    files.rename_durably(unfinished, image)


def verify(image: Path, shape: Shape) -> None:
    """Raise HostError for an image of another size, NotBlank for one that does not hold its own filesystem."""
    size = image.stat().st_size
    if size != shape.size_bytes:
        raise HostError(
            f"volume {shape.volume_id}: {image} has {exact(size)}, its manifest says {exact(shape.size_bytes)}"
        )
    if shape.access_type == "mount":
        found = filesystems.probe(image)
        if found is None or (found.fs_type, found.uuid) != (shape.fs_type, shape.fs_uuid):
            raise NotBlankError(
                f"volume {shape.volume_id}: {image} does not hold its own filesystem; it is left as it is"
            )


def expand(image: Path, shape: Shape) -> None:
    """Give it the shape's size, never less than it has. Raises NoSpace, and then it is as it was."""
    with files.reporting_no_space(image), image.open("rb+") as file:
        before = os.fstat(file.fileno()).st_size
        if before >= shape.size_bytes:
            return
        try:
            if shape.provisioning == THICK:
                files.reserve(image, size=shape.size_bytes)
            else:
                file.truncate(shape.size_bytes)
        except (HostError, OSError):
            file.truncate(before)
            raise
        os.fsync(file.fileno())


@contextmanager
def opened(volume_dir: Path, shape: Shape, *, at_least: int) -> Iterator[Locked]:
    """
    Hold the lock of the volume's image for work on it.

    Raises ImageLocked, and HostError where the image is missing or has fewer bytes than `at_least`.
    """
    image = volume_dir / "image"
    with contextlib.ExitStack() as stack:
        try:
            locked_image = stack.enter_context(locked(image))
        except FileNotFoundError:
            raise HostError(
                f"volume {shape.volume_id}: its image {image} is missing; is the pool's disk mounted?"
            ) from None
        size = os.fstat(locked_image.descriptor).st_size
        if size < at_least:
            raise HostError(
                f"volume {shape.volume_id}: {image} has {exact(size)} of {exact(at_least)}; restore it from a backup"
            )
        yield locked_image


def restore_reservation(image: Path, shape: Shape) -> None:
    """
    Give a thick image the blocks again that it lost.

    Where that fails the volume is used nevertheless: the log says so now, and its health as long as blocks are missing.
    """
    if shape.provisioning != THICK:
        return
    try:
        files.reserve(image, size=shape.size_bytes)
    except (HostError, OSError) as error:
        log.warning("volume.not_reserved", volume=shape.volume_id, path=str(image), error=str(error))


def passes_discards(shape: Shape) -> bool:
    """Whether blocks that the volume's filesystem frees may go back to the pool's disk."""
    return shape.provisioning != THICK


def _reservation_issues(image: Path, shape: Shape, *, blocks: int) -> list[HealthIssue]:
    """What takes blocks away from a thick image, or took them: `blocks` are those of 512 bytes that it has."""
    if shape.provisioning != THICK:
        return []
    found = []
    if (has := blocks * 512) < shape.size_bytes:
        message = (
            f"{image} is thick, and only {readable(has)} of its {readable(shape.size_bytes, up=True)} are reserved; "
            f"free some space on the pool's disk; the rest is reserved when it is staged the next time"
        )
        found.append(HealthIssue("DEGRADED", "NotReserved", message))
    for loop in loopdev.find(image, tag=loopdev.tag_of(shape.volume_id)):
        if loopdev.passes_discards(loop):
            message = (
                f"{image} is thick, and {loop.path} passes discards on, which take its blocks away; let the driver "
                f"write to /sys, and stage it again"
            )
            found.append(HealthIssue("DEGRADED", "DiscardsPassedOn", message))
    return found


def health_issues(volume_dir: Path, shape: Shape) -> list[HealthIssue]:
    """What is wrong with the image, and with the devices over it."""
    image, tag = volume_dir / "image", loopdev.tag_of(shape.volume_id)
    found = [
        HealthIssue(
            "DATA_LOSS",
            "LoopOnDeletedFile",
            f"{loop.path} still works on a file that is not {image} any more; copy the data out before it is unmounted",
        )
        for loop in loopdev.tagged(tag, volume_id=volume_dir.name)
        if not loopdev.is_over(loop, image, tag=tag)
    ]
    try:
        status = image.stat()
    except FileNotFoundError:
        return [*found, HealthIssue("DATA_LOSS", "ImageMissing", f"{image} is gone; restore it from a backup")]
    size = status.st_size
    found += _reservation_issues(image, shape, blocks=status.st_blocks)
    if size < shape.size_bytes:
        message = f"{image} has {exact(size)} of {exact(shape.size_bytes)}: its end is gone; restore it from a backup"
        found.append(HealthIssue("DATA_LOSS", "ImageTruncated", message))
    elif size > shape.size_bytes:
        message = f"{image} has {exact(size)}, its manifest says {exact(shape.size_bytes)}; expand the volume to match"
        found.append(HealthIssue("DEGRADED", "ImageSizeDiffers", message))
    if superblocks.has_errors(image, fs_type=shape.fs_type):
        message = f"the filesystem in {image} met errors; it is checked when it is staged the next time"
        found.append(HealthIssue("DEGRADED", "FilesystemErrors", message))
    return found
