"""What `mooring up` is told, and where everything lives inside its state directory."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

DEFAULT_POOL = "local"
"""Name of the pool that lives inside the state directory."""

PRIVATE = 0o700
"""Mode of what is in the state directory: only the engine's user reads volumes, as only root does below kubelet."""

MAX_SOCKET_PATH = 107
"""Bytes of a unix socket's path (``sun_path`` of unix(7), less the closing zero)."""


class BadEnvironment(Exception):
    """The machine or the state directory cannot serve; the text is one sentence with the next step (exit 78)."""


class UpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The settings of one engine.

    `state` is absolute. `pools` are further pools beside the one inside the state directory. `port` is the loopback
    port of the API; 0 keeps the one chosen at the first start. `rootless` is set by the engine itself when it has
    started itself again inside a user namespace.
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
        """Where everything lives."""
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
        """The same for the engine itself; it names the authority's file instead of carrying it."""
        return self.tls / "kubeconfig"

    @property
    def database(self) -> Path:
        """The object store."""
        return self.state / "engine.db"

    @property
    def lock(self) -> Path:
        """Held with flock(2) by the running engine."""
        return self.state / "lock"

    @property
    def tls(self) -> Path:
        """Authority, server certificate and token."""
        return self.state / "tls"

    @property
    def port_file(self) -> Path:
        """The loopback port chosen at the first start."""
        return self.state / "port"

    @property
    def holder(self) -> Path:
        """Process id of the engine, for those who must look through its mount namespace."""
        return self.state / "holder.json"

    @property
    def log(self) -> Path:
        """What an engine in the background writes."""
        return self.state / "engine.log"

    @property
    def driver(self) -> Path:
        """Directory of the driver's socket and of what it knows about pools."""
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
        """What the agent has set out to mount, one file per pod, written before it acts."""
        return self.state / "agent"


def speak_to_this_machine_alone(environ: MutableMapping[str, str]) -> None:
    """
    Take out of the environment what would send the engine's requests elsewhere, or with other credentials.

    All that the engine speaks to is on this machine, so that no proxy can reach it; and HTTP clients that honour
    proxies also take a password from ~/.netrc.
    """
    for name in [each for each in environ if each.lower().endswith("_proxy")]:
        del environ[name]
    environ["NETRC"] = os.devnull


def default_state(environ: Mapping[str, str], *, uid: int) -> Path:
    """The state directory when none is named: root has the system's, others their own."""
    if named := environ.get("MOORING_STATE"):
        return Path(os.path.abspath(named))  # noqa: PTH100 - resolve() would follow links
    if uid == 0:
        return Path("/var/lib/mooring")
    if data := environ.get("XDG_DATA_HOME"):
        return Path(data) / "mooring"
    return Path(environ.get("HOME", "/")) / ".local" / "share" / "mooring"


def prepare(paths: StatePaths) -> None:
    """Make the state directory and its rooms; raises BadEnvironment when that cannot be."""
    if len(os.fsencode(paths.socket)) > MAX_SOCKET_PATH:
        raise BadEnvironment(
            f"the state directory {paths.state} has too long a path: the driver's socket inside it may have "
            f"{MAX_SOCKET_PATH} bytes; choose a shorter one with --state"
        )
    try:
        paths.state.mkdir(mode=0o755, parents=True, exist_ok=True)
        for private in (paths.tls, paths.driver, paths.staging, paths.records, paths.pool, paths.pods):
            private.mkdir(mode=PRIVATE, exist_ok=True)
            private.chmod(PRIVATE)  # an earlier version let everybody into some of them
    except OSError as error:
        raise BadEnvironment(
            f"cannot make {error.filename or paths.state}: {error.strerror}; choose another place with --state"
        ) from error
