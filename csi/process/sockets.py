"""Check whether a running process listens on a unix socket, or a process that has ended left it."""

import contextlib
import socket
from pathlib import Path


def is_served(path: Path) -> bool:
    """
    Report whether a process listens on the socket; False only if the connection is refused or the path is missing.

    A process that is too busy to accept, or refuses access to this one, counts as running: its socket is not removed.
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
