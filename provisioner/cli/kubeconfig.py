"""Which server to speak to, and as whom: the engine's own kubeconfig, or any other one."""

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provisioner.cli.exits import BAD_INPUT, UNREACHABLE, USAGE, CommandFailed
from provisioner.embedded.settings import default_state


@dataclass(frozen=True, slots=True)
class Server:
    """
    A server's address, how to trust it, and who we are.

    `kubeconfig` is the file that has the context, `context_name`. `engine`: it is the embedded engine, no cluster.
    """

    url: str
    authority: bytes
    insecure: bool
    token: str
    certificate: bytes
    key: bytes
    namespace: str
    kubeconfig: Path
    context_name: str = ""
    engine: bool = False

    def context(self) -> ssl.SSLContext:
        """For HTTPS."""
        context = ssl.create_default_context(cadata=self.authority.decode() if self.authority else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            with tempfile.NamedTemporaryFile() as both:  # the standard library loads them from a file only
                both.write(self.certificate + b"\n" + self.key)
                both.flush()
                context.load_cert_chain(both.name)
        return context


@dataclass(frozen=True, slots=True)
class Source:
    """
    Where the server is named.

    Several files are merged as kubectl merges those of KUBECONFIG; `required` means that a missing one is an error.
    `engine` says that the server is the embedded engine of a state directory, and no cluster.
    """

    files: tuple[Path, ...]
    context: str = ""
    engine: bool = False
    required: bool = False


def find(
    environ: Mapping[str, str],
    *,
    kubeconfig: Path | None = None,
    context: str = "",
    state: Path | None = None,
    plugin: bool = False,
) -> Source:
    """
    Decide which server is meant. This is the one place that says so.

    The server is always one that the user named: --kubeconfig or --context name a cluster, --state names an engine, and
    so does MOORING_STATE for `mooring`. When nothing is named, `mooring` means the engine of the default state
    directory, running or not, and `kubectl mooring` (`plugin`) means what kubectl means. There is no falling through
    from one to another. Raises CommandFailed when two are named.
    """
    if state is not None and (kubeconfig is not None or context):
        raise CommandFailed("--state names an engine, --kubeconfig and --context name a cluster: say one", code=USAGE)
    if kubeconfig is not None:
        return Source((kubeconfig,), context, required=True)
    if context or (plugin and state is None):
        return Source(_as_kubectl(environ), context)
    return Source(((state or default_state(environ, uid=os.geteuid())) / "kubeconfig",), engine=True, required=True)


def _as_kubectl(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that kubectl reads. Source: kubernetes, client-go/tools/clientcmd/loader.go."""
    named = dict.fromkeys(Path(each) for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each)
    return tuple(named) or (Path(environ.get("HOME", "/"), ".kube", "config"),)


def read(source: Source) -> Server:
    """Read the chosen context, else the current one. Raises CommandFailed."""
    configs = [(path, config) for path in source.files if (config := _load(path, source)) is not None]
    if not configs:
        files = os.pathsep.join(map(str, source.files))
        message = f"no server is named: {files} does not exist; name one with --kubeconfig, or an engine with --state"
        raise CommandFailed(message, code=UNREACHABLE)
    at = configs[0][0]
    try:
        chosen = source.context
        for path, config in configs:
            if not chosen and (chosen := str(config.get("current-context") or "")):
                at = path
        at, context = _named(configs, "context", chosen)
        where, cluster = _named(configs, "cluster", context["cluster"])
        who, user = _named(configs, "user", context["user"]) if context.get("user") else (at, {})
        if unknown := {"exec", "auth-provider"} & user.keys():
            message = (
                f"{who}: users that sign in by {unknown.pop()} are not supported here; use kubectl for that cluster"
            )
            raise CommandFailed(message, code=BAD_INPUT)
        return Server(
            url=str(cluster["server"]).rstrip("/"),
            authority=_bytes(cluster, "certificate-authority", where),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            token=_token(user, who),
            certificate=_bytes(user, "client-certificate", who),
            key=_bytes(user, "client-key", who),
            namespace=str(context.get("namespace") or "default"),
            kubeconfig=at,
            context_name=chosen,
            engine=source.engine,
        )
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise CommandFailed(f"{at} is not a kubeconfig that can be used: {error!r}", code=BAD_INPUT) from None


def _load(path: Path, source: Source) -> Any:
    """One file; None for a missing one that need not be there."""
    try:
        # unbounded: the user's own file, read by the user's own command
        return yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}  # noqa: S506 # safe
    except FileNotFoundError:
        if not source.required:
            return None
        if not source.engine:
            raise CommandFailed(f"{path} does not exist", code=BAD_INPUT) from None
        message = (
            f"no engine has run here ({path} does not exist); start one with `mooring up`, "
            "or name a cluster with --kubeconfig or --context"
        )
        raise CommandFailed(message, code=UNREACHABLE) from None
    except (OSError, yaml.YAMLError) as error:
        raise CommandFailed(f"{path} cannot be read: {error}", code=BAD_INPUT) from None


def _named(configs: list[tuple[Path, Any]], kind: str, name: str) -> tuple[Path, dict[str, Any]]:
    """The entry of that name, and the file it stands in; the first file that has it wins."""
    for path, config in configs:
        for each in config.get(f"{kind}s") or ():
            if each["name"] == name:
                return path, each[kind] or {}
    raise KeyError(f"{kind} {name}")


def _bytes(entry: Mapping[str, Any], key: str, kubeconfig: Path) -> bytes:
    """Inline data, or the file beside the kubeconfig."""
    if inline := entry.get(f"{key}-data"):
        return base64.b64decode(inline)
    # unbounded: the user's own file, read by the user's own command
    return (kubeconfig.parent / entry[key]).read_bytes() if entry.get(key) else b""


def _token(user: Mapping[str, Any], kubeconfig: Path) -> str:
    if user.get("tokenFile"):
        # unbounded: the user's own file, read by the user's own command
        return (kubeconfig.parent / str(user["tokenFile"])).read_text(encoding="utf-8").strip()
    return str(user.get("token") or "")
