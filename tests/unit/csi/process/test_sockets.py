"""Sockets that may be removed."""

import socket
from pathlib import Path

import pytest

from csi.process.sockets import is_served
from tests.unit.csi.services.kubelet import create_stale_socket, listening


def test_a_path_without_a_listener_is_not_served(tmp_path: Path) -> None:
    """A missing path, a dead process's socket, a file, a path below a file."""
    create_stale_socket(tmp_path / "dead.sock")
    (tmp_path / "file").touch()

    for name in ("absent.sock", "dead.sock", "file", "file/below.sock"):
        assert not is_served(tmp_path / name), name


@pytest.mark.parametrize("waiting", [0, 32])
def test_a_running_process_serves_its_socket_even_when_busy(tmp_path: Path, waiting: int) -> None:
    """Also one that is stopped, with more waiting callers than its queue can have."""
    queue = [socket.socket(socket.AF_UNIX) for _ in range(waiting)]
    with listening(tmp_path / "s.sock"):
        for caller in queue:
            caller.setblocking(False)
            caller.connect_ex(str(tmp_path / "s.sock"))

        assert is_served(tmp_path / "s.sock")
    for caller in queue:
        caller.close()
