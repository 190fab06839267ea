"""
Image files: created completely or not at all, verified before use, and expanded without changing their contents.

A thick image has blocks on the pool's disk for all of its bytes. They are reserved when the image is created or
expanded, and missing ones again before a device is attached. In between no block is freed: the device over the image
passes no discards on. Where the pool's filesystem writes to other blocks than the reserved ones (btrfs), this reserves
capacity and guarantees nothing else.

All work on an image is done under its lock, so that two drivers, or a driver and a program that an earlier driver
started, never work on one image at the same time.
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
    Create and format the image under a temporary name, then rename it to ``image``.

    An interrupted call can start over: an image with the final name is complete, any other was never used.
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
            files.reserve(unfinished, size=shape.size_bytes)  # mkfs programs also punch holes
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    files.rename_durably(unfinished, image)


def verify(image: Path, shape: Shape) -> None:
    """Raise HostError for an image of another size, NotBlankError for one without the volume's own filesystem."""
    size = image.stat().st_size
    if size != shape.size_bytes:
        raise HostError(
            f"volume {shape.volume_id}: {image} has {exact(size)}, its manifest has {exact(shape.size_bytes)}"
        )
    if shape.access_type == "mount":
        found = filesystems.probe(image)
        if found is None or (found.fs_type, found.uuid) != (shape.fs_type, shape.fs_uuid):
            raise NotBlankError(
                f"volume {shape.volume_id}: {image} does not have the volume's filesystem; it is not changed"
            )


def expand(image: Path, shape: Shape) -> None:
    """Expand the image to the shape's size, never shrink it. Raises NoSpaceError, and then leaves it unchanged."""
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
    Hold the lock of the volume's image while the block runs.

    Raises ImageLockedError, and HostError where the image is missing or has fewer bytes than `at_least`.
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
    Reserve the missing blocks of a thick image.

    Where that fails the volume can be used nevertheless: the failure is logged, and the volume's health reports it as
    long as blocks are missing.
    """
    if shape.provisioning != THICK:
        return
    try:
        files.reserve(image, size=shape.size_bytes)
    except (HostError, OSError) as error:
        log.warning("volume.not_reserved", volume=shape.volume_id, path=str(image), error=str(error))


def passes_discards(shape: Shape) -> bool:
    """Report whether blocks that the volume's filesystem frees are freed on the pool's disk, too."""
    return shape.provisioning != THICK


def _reservation_issues(image: Path, shape: Shape, *, blocks: int) -> list[HealthIssue]:
    """
    Return the issues of a thick image: blocks are missing, or a device over it passes discards on.

    `blocks` is the number of 512-byte blocks that the image has.
    """
    if shape.provisioning != THICK:
        return []
    found = []
    if (has := blocks * 512) < shape.size_bytes:
        message = (
            f"{image} is thick, and only {readable(has)} of its {readable(shape.size_bytes, up=True)} are reserved; "
            f"free some space on the pool's disk; the rest is reserved the next time the volume is staged"
        )
        found.append(HealthIssue("DEGRADED", "NotReserved", message))
    for loop in loopdev.find(image, tag=loopdev.tag_of(shape.volume_id)):
        if loopdev.passes_discards(loop):
            message = (
                f"{image} is thick, and {loop.path} passes discards on, which free its blocks; let the driver "
                f"write to /sys, and stage the volume again"
            )
            found.append(HealthIssue("DEGRADED", "DiscardsPassedOn", message))
    return found


def health_issues(volume_dir: Path, shape: Shape) -> list[HealthIssue]:
    """Return the issues of the image and of the loop devices over it."""
    image, tag = volume_dir / "image", loopdev.tag_of(shape.volume_id)
    found = [
        HealthIssue(
            "DATA_LOSS",
            "LoopOnDeletedFile",
            f"{loop.path} uses a file that is not {image} any more; copy the data before the volume is unmounted",
        )
        for loop in loopdev.tagged(tag, volume_id=volume_dir.name)
        if not loopdev.is_over(loop, image, tag=tag)
    ]
    try:
        status = image.stat()
    except FileNotFoundError:
        return [*found, HealthIssue("DATA_LOSS", "ImageMissing", f"{image} is missing; restore it from a backup")]
    size = status.st_size
    found += _reservation_issues(image, shape, blocks=status.st_blocks)
    if size < shape.size_bytes:
        message = (
            f"{image} has {exact(size)} of {exact(shape.size_bytes)}: its end is missing; restore it from a backup"
        )
        found.append(HealthIssue("DATA_LOSS", "ImageTruncated", message))
    elif size > shape.size_bytes:
        message = f"{image} has {exact(size)}, its manifest has {exact(shape.size_bytes)}; expand the volume to match"
        found.append(HealthIssue("DEGRADED", "ImageSizeDiffers", message))
    if superblocks.has_errors(image, fs_type=shape.fs_type):
        message = f"the filesystem in {image} has errors; it is checked the next time the volume is staged"
        found.append(HealthIssue("DEGRADED", "FilesystemErrors", message))
    return found
