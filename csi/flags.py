"""The driver's command line. Bad flags end with exit code 2 and one sentence."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

SOCKET_LIMIT: Final = 107
"""Bytes that the path of a unix socket has room for."""

_SIZE: Final = re.compile(r"([0-9]+)(Ki|Mi|Gi|Ti)?", re.ASCII)
_UNITS: Final = {"": 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the driver was told."""

    socket: Path
    node_id: str
    pools: tuple[Path, ...]
    init_empty_pools: bool
    purge_seconds: float
    lifeline: int | None
    workers: int
    log_format: str

    @property
    def known_pools(self) -> Path:
        """Where path → UUID of known pools is kept."""
        return self.socket.parent / "known-pools.json"


class Endpoint(click.ParamType[Path]):
    """``unix:///path.sock``, or the bare path."""

    name = "endpoint"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """To the socket's path."""
        text = str(value)
        path = Path(text.removeprefix("unix://"))
        if "://" in str(path) or not path.is_absolute() or path.suffix != ".sock":
            self.fail(f"{text!r} is not of the form unix:///path/to/csi.sock", param, ctx)
        if len(str(path).encode()) > SOCKET_LIMIT:
            self.fail(f"{text!r} is too long: the path of a unix socket has at most {SOCKET_LIMIT} bytes", param, ctx)
        return path


class Size(click.ParamType[int]):
    """Bytes, or with Ki, Mi, Gi, Ti."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """To bytes."""
        found = _SIZE.fullmatch(str(value))
        if found is None or not int(found[1]):
            self.fail(f"{value!r} is not a size; write for example 500Mi or 10Gi", param, ctx)
        return int(found[1]) << _UNITS[found[2] or ""]
