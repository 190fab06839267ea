"""The settings of `mooring up`, and the layout of its state directory."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

"""The name of the pool in the state directory."""

PRIVATE = 0o700
"""The mode of directories in the state directory: other users cannot read volumes."""

MAX_SOCKET_PATH = 107
"""The longest path of a unix socket in bytes (``sun_path`` of unix(7), without the terminating zero)."""


class BadEnvironmentError(Exception):
    """The machine or the state directory cannot be used; the message has the next step (exit code 78)."""


class UpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The settings of one engine.

    :ivar state: the absolute path of the state directory
    :ivar pools: pools besides the one in the state directory
    :ivar port: the loopback port of the API; 0 for the port of the first start
    :ivar rootless: set by the engine after it restarted itself inside a user namespace
    """

    state: str
    pools: tuple[str, ...] = ()
    node_name: str = "local"
    port: int = 0
    log_format: str = "text"
    purge_interval: float = 60.0
    rootless: bool = False

    @property
    def paths(self) -> "StatePaths":
        """The paths in the state directory."""
        return StatePaths(Path(self.state))


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The layout of a state directory."""

    state: Path

    @property
    def kubeconfig(self) -> Path:
        """Address, authority and token of the API, mode 0600."""
        return self.state / "kubeconfig"

    @property
    def own_kubeconfig(self) -> Path:
        """The same for the engine itself; it refers to the authority's file instead of embedding it."""
        return self.tls / "kubeconfig"

    @property
    def database(self) -> Path:
        """The object store."""
        return self.state / "engine.db"

    @property
    def lock(self) -> Path:
        """The file that the running engine locks with flock(2)."""
        return self.state / "lock"

    @property
    def tls(self) -> Path:
        """The authority, server certificate and token."""
        return self.state / "tls"

    @property
    def port_file(self) -> Path:
        """The loopback port of the first start."""
        return self.state / "port"

    @property
    def process_file(self) -> Path:
        """The process id of the engine, by which its mount namespace is found."""
        return self.state / "holder.json"

    @property
    def log(self) -> Path:
        """The log of an engine in the background."""
        return self.state / "engine.log"

    @property
    def driver(self) -> Path:
        """The directory of the driver's socket and of its records of pools."""
        return self.state / "driver"

    @property
    def socket(self) -> Path:
        """The driver's unix socket."""
        return self.driver / "csi.sock"

    @property
    def endpoint(self) -> str:
        """The driver's address as gRPC writes it."""
        return f"unix://{self.socket}"

    @property
    def pool(self) -> Path:
        """The pool named `local`."""
        return self.state / "pool"

    @property
    def staging(self) -> Path:
        """One directory per staged volume, named as the PersistentVolume."""
        return self.state / "staging"

    @property
    def pods(self) -> Path:
        """``<namespace>/<pod>/<volume>``: where the volumes of pods are mounted."""
        return self.state / "pods"

    @property
    def records(self) -> Path:
        """The mount records of the engine's kubelet, one file per pod, written before its volumes are mounted."""
        return self.state / "agent"


def disable_proxies(environ: MutableMapping[str, str]) -> None:
    """
    Remove proxy settings from the environment, and set NETRC to the null device.

    The engine connects only to this machine, which no proxy reaches. HTTP clients that take proxies from the
    environment also take passwords from ~/.netrc.
    """
    for name in [each for each in environ if each.lower().endswith("_proxy")]:
        del environ[name]
    environ["NETRC"] = os.devnull


def default_state(environ: Mapping[str, str], *, uid: int) -> Path:
    """Return MOORING_STATE, or else the default state directory: the system's for root, the user's for others."""
    if named := environ.get("MOORING_STATE"):
        return Path(os.path.abspath(named))  # noqa: PTH100 - resolve() would follow links
    if uid == 0:
        return Path("/var/lib/mooring")
    if data := environ.get("XDG_DATA_HOME"):
        return Path(data) / "mooring"
    return Path(environ.get("HOME", "/")) / ".local" / "share" / "mooring"


def prepare(paths: StatePaths) -> None:
    """Create the state directory and its subdirectories. Raises BadEnvironmentError."""
    if len(os.fsencode(paths.socket)) > MAX_SOCKET_PATH:
        raise BadEnvironmentError(
            f"the path of the state directory {paths.state} is too long: the path of the driver's socket in it may "
            f"have {MAX_SOCKET_PATH} bytes; choose a shorter one with --state"
        )
    try:
        paths.state.mkdir(mode=0o755, parents=True, exist_ok=True)
        for private in (paths.tls, paths.driver, paths.staging, paths.records, paths.pool, paths.pods):
            private.mkdir(mode=PRIVATE, exist_ok=True)
            private.chmod(PRIVATE)  # earlier versions created some of them readable by all users
    except OSError as error:
        raise BadEnvironmentError(
            f"cannot create {error.filename or paths.state}: {error.strerror}; choose another directory with --state"
        ) from error
