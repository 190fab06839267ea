"""The driver's command line. Invalid flags end the driver with exit code 2 and a message of one line."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

SOCKET_LIMIT: Final = 107
"""Most bytes of the path of a unix socket."""

SOCKET_NAME_BYTES: Final = 31
"""Bytes of it reserved for ``/`` and the names of the driver's sockets."""

SOCKET_DIRECTORY_LIMIT: Final = SOCKET_LIMIT - SOCKET_NAME_BYTES

_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", re.ASCII)
_SIZE: Final = re.compile(r"([0-9]+)(Ki|Mi|Gi|Ti)?", re.ASCII)
_UNITS: Final = {"": 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}


@dataclass(frozen=True, slots=True)
class Kubelet:
    """
    How the driver registers with kubelet.

    `directory` is kubelet's plugin registration directory, `endpoint` the driver's socket as kubelet sees it;
    `check_seconds` is the interval between checks of the registration socket.
    """

    directory: Path
    endpoint: Path
    check_seconds: float


@dataclass(frozen=True, slots=True)
class Network:
    """Address for the controller, the authorities that sign the controller's certificate, and the driver's key."""

    address: str
    controller_ca: Path
    key_dir: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the driver, from its flags."""

    socket: Path
    node_id: str
    pools: tuple[Path, ...]
    pool_folders: tuple[Path, ...]
    init_empty_pools: bool
    purge_seconds: float
    lifeline: int | None
    workers: int
    log_format: str
    kubelet: Kubelet | None = None
    network: Network | None = None
    test_attach_limit: int = 0

    @property
    def known_pools(self) -> Path:
        """File that stores path → UUID of known pools."""
        return self.socket.parent / "known-pools.json"


class Endpoint(click.ParamType[Path]):
    """``unix:///path.sock``, or the bare path."""

    name = "endpoint"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert to the socket's path."""
        text = str(value)
        path = Path(text.removeprefix("unix://"))
        if "://" in str(path) or not path.is_absolute() or path.suffix != ".sock":
            self.fail(f"{text!r} is not of the form unix:///path/to/csi.sock", param, ctx)
        if len(str(path).encode()) > SOCKET_LIMIT:
            self.fail(f"{text!r} is too long: the path of a unix socket has at most {SOCKET_LIMIT} bytes", param, ctx)
        return path


class HostPort(click.ParamType[str]):
    """``HOST:PORT``, with an IPv6 address in brackets."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text and return it unchanged."""
        text = str(value)
        if not (found := _ADDRESS.fullmatch(text)) or not 0 < int(found[1]) < 1 << 16:
            self.fail(f"{text!r} is not of the form HOST:PORT", param, ctx)
        return text


class SocketDirectory(click.ParamType[Path]):
    """A directory in which the driver creates sockets."""

    name = "directory"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert to the directory's path."""
        path = Path(str(value))
        if not path.is_absolute():
            self.fail(f"{str(path)!r} is not an absolute path", param, ctx)
        if len(str(path).encode()) > SOCKET_DIRECTORY_LIMIT:
            text = f"{str(path)!r} is too long: a directory for sockets has at most {SOCKET_DIRECTORY_LIMIT} bytes"
            self.fail(text, param, ctx)
        return path


class Size(click.ParamType[int]):
    """Bytes, or with Ki, Mi, Gi, Ti."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert to bytes."""
        found = _SIZE.fullmatch(str(value))
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is not a size; write for example 500Mi or 10Gi", param, ctx)
        return int(found[1]) << _UNITS[found[2] or ""]
