"""Whether a living process listens on a unix socket, or a dead one left it behind."""

import contextlib
import socket
from pathlib import Path


def is_served(path: Path) -> bool:
    """
    Dial it. Only a refusal, or nothing there, means that nobody lives behind it.

    Whoever is too busy to accept, or may not be dialled by us, counts as living: its socket is not ours to remove.
    """
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
    return True
