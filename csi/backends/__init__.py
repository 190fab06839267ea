"""Storage backends: one protocol, two implementations."""

from csi.backends.directory import Directory
from csi.backends.loop import Loop
from csi.backends.protocol import Backend


def backends() -> dict[str, Backend]:
    """Return all backends by the name that a StorageClass uses."""
    return {backend.name: backend for backend in (Directory(), Loop())}
