"""The log of the control plane, which is that of the driver, and its lines for the person who started the process."""

import os
import sys

from csi import logs
from csi.logs import LossyStream

STDERR = 2
"""The file descriptor of stderr; those of stdin and stdout are smaller."""


def configure(log_format: str) -> None:
    """Log warnings and errors as `text` for people, or everything from level info up as `json` for programs."""
    _open_standard_streams()
    logs.configure(log_format, text_level="warning")


def show(line: str) -> None:
    """Print one line on stderr for the person who started this process."""
    stream = LossyStream(sys.stderr)
    stream.write(line + "\n")
    stream.flush()


def _open_standard_streams() -> None:
    """Open descriptors 0 to 2 where they are closed, so that no file opened later gets the number of a stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        os.set_inheritable(descriptor, True)  # like the standard streams that a process inherits
    os.close(descriptor)
