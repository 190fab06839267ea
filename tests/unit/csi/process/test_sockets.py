"""Whose socket may be removed."""

import socket
from pathlib import Path

import pytest

from csi.process.sockets import is_served
from tests.unit.csi.services.kubelet import create_stale_socket, listening


def test_what_nobody_listens_on_is_not_served(tmp_path: Path) -> None:
    """Nothing, a dead process's socket, a file, nothing below a file."""
    create_stale_socket(tmp_path / "dead.sock")
    (tmp_path / "file").touch()

    for name in ("absent.sock", "dead.sock", "file", "file/below.sock"):
        assert not is_served(tmp_path / name), name


@pytest.mark.parametrize("waiting", [0, 32])
def test_a_living_process_is_served_however_busy(tmp_path: Path, waiting: int) -> None:
    """A stopped one, with more callers waiting than it has room for, counts as living."""
    queue = [socket.socket(socket.AF_UNIX) for _ in range(waiting)]
    with listening(tmp_path / "s.sock"):
        for caller in queue:
            caller.setblocking(False)
            caller.connect_ex(str(tmp_path / "s.sock"))

        assert is_served(tmp_path / "s.sock")
    for caller in queue:
        caller.close()
