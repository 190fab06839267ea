"""
Image files: made whole or not at all, verified before use, enlarged without touching what is in them.

All work on an image is done under its lock, so that two drivers, or a driver and a program of the one before it, never
work on one image.
"""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csi.backends.protocol import Ailment, Shape
from csi.host import files, filesystems, loopdev, superblocks
from csi.host.errors import HostError, NotBlank
from csi.host.locks import Locked, locked


def create(home: Path, shape: Shape) -> None:
    """
    Make the image under another name, format it, and only then call it ``image``.

    So an interrupted start over is harmless: what has the final name is whole, anything else was never used.
    """
    image, unfinished = home / "image", home / "image.new"
    if image.exists():
        with locked(image):
            verify(image, shape)
        return
    with contextlib.suppress(FileNotFoundError), locked(unfinished):
        unfinished.unlink()
    with files.reporting_no_space(home), unfinished.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        if shape.provisioning == "thick":
            os.posix_fallocate(file.fileno(), 0, shape.size_bytes)
        else:
            file.truncate(shape.size_bytes)
    if shape.access_type == "mount":
        with locked(unfinished) as held:
            filesystems.make(held, fs_type=shape.fs_type, uuid=shape.fs_uuid, options=shape.options)
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    files.rename_durably(unfinished, image)


def verify(image: Path, shape: Shape) -> None:
    """Raise HostError for an image of another size, NotBlank for one that does not hold its own filesystem."""
    size = image.stat().st_size
    if size != shape.size_bytes:
        raise HostError(f"volume {shape.volume_id}: {image} has {size} bytes, its manifest says {shape.size_bytes}")
    if shape.access_type == "mount":
        found = filesystems.probe(image)
        if found is None or (found.fs_type, found.uuid) != (shape.fs_type, shape.fs_uuid):
            raise NotBlank(f"volume {shape.volume_id}: {image} does not hold its own filesystem; it is left as it is")


def enlarge(image: Path, shape: Shape) -> None:
    """Give it the shape's size, never less than it has. Raises NoSpace, and then it is as it was."""
    with files.reporting_no_space(image), image.open("rb+") as file:
        before = os.fstat(file.fileno()).st_size
        if before >= shape.size_bytes:
            return
        try:
            if shape.provisioning == "thick":
                os.posix_fallocate(file.fileno(), before, shape.size_bytes - before)
            else:
                file.truncate(shape.size_bytes)
        except OSError:
            file.truncate(before)
            raise
        os.fsync(file.fileno())


@contextmanager
def opened(home: Path, shape: Shape, *, at_least: int) -> Iterator[Locked]:
    """
    Hold the lock of the volume's image for work on it.

    Raises ImageLocked, and HostError where the image is missing or has fewer bytes than `at_least`.
    """
    image = home / "image"
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(locked(image))
        except FileNotFoundError:
            raise HostError(
                f"volume {shape.volume_id}: its image {image} is missing; is the pool's disk mounted?"
            ) from None
        size = os.fstat(held.descriptor).st_size
        if size < at_least:
            message = f"volume {shape.volume_id}: {image} has {size} bytes of {at_least}; restore it from a backup"
            raise HostError(message)
        yield held


def ailments(home: Path, shape: Shape) -> list[Ailment]:
    """What is wrong with the image, and with the devices over it."""
    image, tag = home / "image", loopdev.tag_of(shape.volume_id)
    found = [
        Ailment(
            "DATA_LOSS",
            "LoopOnDeletedFile",
            f"{loop.path} still works on a file that is not {image} any more; copy the data out before it is unmounted",
        )
        for loop in loopdev.tagged(tag, volume_id=home.name)
        if not loopdev.is_over(loop, image, tag=tag)
    ]
    try:
        size = image.stat().st_size
    except FileNotFoundError:
        return [*found, Ailment("DATA_LOSS", "ImageMissing", f"{image} is gone; restore it from a backup")]
    if size < shape.size_bytes:
        message = f"{image} has {size} bytes of {shape.size_bytes}: its end is gone; restore it from a backup"
        found.append(Ailment("DATA_LOSS", "ImageTruncated", message))
    elif size > shape.size_bytes:
        message = f"{image} has {size} bytes, its manifest says {shape.size_bytes}; expand the volume to match"
        found.append(Ailment("DEGRADED", "ImageSizeDiffers", message))
    if superblocks.remembers_errors(image, fs_type=shape.fs_type):
        message = f"the filesystem in {image} met errors; it is checked when it is staged the next time"
        found.append(Ailment("DEGRADED", "FilesystemErrors", message))
    return found
