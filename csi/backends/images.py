"""Image files: made whole or not at all, verified before use, enlarged without touching what is in them."""

import os
from pathlib import Path

from csi.backends.protocol import Ailment, Shape
from csi.host import files, filesystems, loopdev, superblocks
from csi.host.errors import HostError, NotBlank


def create(home: Path, shape: Shape) -> None:
    """
    Make the image under another name, format it, and only then call it ``image``.

    So an interrupted start over is harmless: what has the final name is whole, anything else was never used.
    """
    image, unfinished = home / "image", home / "image.new"
    if image.exists():
        verify(image, shape)
        return
    unfinished.unlink(missing_ok=True)
    with files.reporting_no_space(home), unfinished.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        if shape.provisioning == "thick":
            os.posix_fallocate(file.fileno(), 0, shape.size_bytes)
        else:
            file.truncate(shape.size_bytes)
    if shape.access_type == "mount":
        filesystems.make(unfinished, fs_type=shape.fs_type, uuid=shape.fs_uuid, options=shape.options)
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


def require(home: Path, shape: Shape, *, at_least: int) -> Path:
    """The image, to be used now. Raises HostError where it is missing or has lost its end."""
    image = home / "image"
    try:
        size = image.stat().st_size
    except FileNotFoundError:
        raise HostError(
            f"volume {shape.volume_id}: its image {image} is missing; is the pool's disk mounted?"
        ) from None
    if size < at_least:
        raise HostError(f"volume {shape.volume_id}: {image} has {size} bytes of {at_least}; restore it from a backup")
    return image


def ailments(home: Path, shape: Shape) -> list[Ailment]:
    """What is wrong with the image, and with the devices over it."""
    image, tag = home / "image", loopdev.tag_of(shape.volume_id)
    found = [
        Ailment(
            "DATA_LOSS",
            "LoopOnDeletedFile",
            f"{loop.path} still works on a file that is not {image} any more; copy the data out before it is unmounted",
        )
        for loop in loopdev.tagged(tag)
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
