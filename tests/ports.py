"""Ports for servers that cannot be given port 0."""

import os
import random
import socket

FIRST, LAST = 20_000, 32_000
"""Below the ports that the kernel gives to outgoing connections: those of a test beside this one never take them."""


def free_port() -> int:
    """Return a port without a listener; another process may still take it. Raises OSError after a hundred attempts."""
    chance = random.Random(f"{os.getpid()} {os.urandom(8).hex()}")  # noqa: S311 # the same seed in all workers otherwise
    for _ in range(100):
        port = chance.randrange(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {FIRST} to {LAST}")
