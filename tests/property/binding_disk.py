"""The disk side of a volume in the model of the binding machine."""

import dataclasses

from provisioner.model.inventory import Manifest


@dataclasses.dataclass
class Disk:
    """The data of one volume in its pool, and its manifest with the last holder."""

    manifest: Manifest | None
    """None for a volume of another driver."""
    token: tuple[str, str] = ("", "")
    """The writer of the data: the claim's name and the namespace's UID."""
