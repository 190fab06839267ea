"""Tests of the path of the state directory, and of its creation."""

import os
from pathlib import Path

import pytest
from aiohttp import web

from provisioner.embedded.settings import (
    BadEnvironmentError,
    StatePaths,
    default_state,
    disable_proxies,
    prepare,
)
from provisioner.model.kinds import NODE
from tests.unit.provisioner.kube.test_transport import served


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({}, 0, "/var/lib/mooring"),
        ({"HOME": "/home/u"}, 1000, "/home/u/.local/share/mooring"),
        ({"HOME": "/home/u", "XDG_DATA_HOME": "/data"}, 1000, "/data/mooring"),
        ({"HOME": "/root", "XDG_DATA_HOME": "/data"}, 0, "/var/lib/mooring"),
        ({"MOORING_STATE": "/srv/state", "XDG_DATA_HOME": "/data"}, 1000, "/srv/state"),
    ],
)
def test_default_state(environ: dict[str, str], uid: int, expected: str) -> None:
    """MOORING_STATE has priority; root has the system's directory, other users their own data directory."""
    assert Path(expected) == default_state(environ, uid=uid)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """The path of a unix socket has at most 107 bytes; the engine reports a longer one before it starts the driver."""
    with pytest.raises(BadEnvironmentError, match="107 bytes; choose a shorter one"):
        prepare(StatePaths(tmp_path / ("x" * 100)))


def test_the_error_names_a_file_in_the_way(tmp_path: Path) -> None:
    """The message for a state directory that cannot be created has the path and the next step."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadEnvironmentError, match=r"cannot create .*/file.*--state"):
        prepare(StatePaths(tmp_path / "file"))


def test_other_users_cannot_read_volumes(tmp_path: Path) -> None:
    """A volume's root may be open to all users, so its parent directories must not; older modes are corrected."""
    paths = StatePaths(tmp_path / "state")
    (paths.state / "pods").mkdir(parents=True, mode=0o755)

    prepare(paths)

    assert {each.name: oct(each.stat().st_mode & 0o777) for each in paths.state.iterdir()} == dict.fromkeys(
        ("agent", "driver", "pods", "pool", "staging", "tls"), "0o700"
    )


async def test_no_proxy_and_no_password_file_comes_between_the_engine_and_its_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for every proxy variable, and for a password of this host in ~/.netrc."""
    names = [f"{each}_proxy" for each in ("http", "https", "all", "ws")]
    for name in [*names, *map(str.upper, names)]:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.com")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    disable_proxies(os.environ)

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"metadata": {"name": request.headers["Authorization"]}})

    async with served(answer, tmp_path) as transport:
        assert (await transport.get(NODE, "n"))["metadata"]["name"] == "Bearer sesame"
