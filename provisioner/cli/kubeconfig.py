"""The API server and credentials to use, from the engine's kubeconfig or another one."""

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from provisioner.cli.exits import BAD_INPUT, UNREACHABLE, USAGE, CommandError
from provisioner.embedded.settings import default_state


@dataclass(frozen=True, slots=True)
class Server:
    """
    An API server's address, certificate authority and client credentials.

    `kubeconfig` is the file that has the context `context_name`. `engine`: it is the embedded engine, not a cluster.
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
        """Return the TLS context for HTTPS."""
        context = ssl.create_default_context(cadata=self.authority.decode() if self.authority else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            with tempfile.NamedTemporaryFile() as both:  # the standard library loads certificates only from files
                both.write(self.certificate + b"\n" + self.key)
                both.flush()
                context.load_cert_chain(both.name)
        return context


@dataclass(frozen=True, slots=True)
class Source:
    """
    The kubeconfig files and the context that select the server.

    Several files are merged as kubectl merges those of KUBECONFIG; with `required`, a missing file is an error.
    `engine`: the server is the embedded engine of a state directory, not a cluster.
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
    Return the source of the server to use. No other code selects a server.

    --kubeconfig or --context select a cluster, --state selects an engine, and so does MOORING_STATE for `mooring`.
    Without any of them, `mooring` uses the engine of the default state directory, running or not, and `kubectl mooring`
    (`plugin`) uses the same server as kubectl. If the selected server is not available, no other one is used. Raises
    CommandError when two are selected.
    """
    if state is not None and (kubeconfig is not None or context):
        raise CommandError(
            "--state selects an engine, --kubeconfig and --context select a cluster; use one of them", code=USAGE
        )
    if kubeconfig is not None:
        return Source((kubeconfig,), context, required=True)
    if context or (plugin and state is None):
        return Source(_as_kubectl(environ), context)
    return Source(((state or default_state(environ, uid=os.geteuid())) / "kubeconfig",), engine=True, required=True)


def _as_kubectl(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files that kubectl reads. Source: kubernetes, client-go/tools/clientcmd/loader.go."""
    named = dict.fromkeys(Path(each) for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each)
    return tuple(named) or (Path(environ.get("HOME", "/"), ".kube", "config"),)


def read(source: Source) -> Server:
    """Return the server of the source's context, or else of the current context. Raises CommandError."""
    configs = [(path, config) for path in source.files if (config := _load(path, source)) is not None]
    if not configs:
        files = os.pathsep.join(map(str, source.files))
        message = (
            f"no server is selected: {files} does not exist; select one with --kubeconfig, or an engine with --state"
        )
        raise CommandError(message, code=UNREACHABLE)
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
            message = f"{who}: authentication by {unknown.pop()} is not supported; use kubectl for that cluster"
            raise CommandError(message, code=BAD_INPUT)
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
        raise CommandError(f"{at} is not a valid kubeconfig: {error!r}", code=BAD_INPUT) from None


def _load(path: Path, source: Source) -> Any:
    """Return the content of one file; None for a missing file that is not required. Raises CommandError."""
    try:
        # unbounded: a file of the user, read by the user's own command
        return yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}  # noqa: S506 # safe
    except FileNotFoundError:
        if not source.required:
            return None
        if not source.engine:
            raise CommandError(f"{path} does not exist", code=BAD_INPUT) from None
        message = (
            f"no engine has run with this state directory ({path} does not exist); start one with `mooring up`, "
            "or select a cluster with --kubeconfig or --context"
        )
        raise CommandError(message, code=UNREACHABLE) from None
    except (OSError, yaml.YAMLError) as error:
        raise CommandError(f"{path} cannot be read: {error}", code=BAD_INPUT) from None


def _named(configs: list[tuple[Path, Any]], kind: str, name: str) -> tuple[Path, dict[str, Any]]:
    """Return the entry of that name and its file; of several files with it, the first. Raises KeyError."""
    for path, config in configs:
        for each in config.get(f"{kind}s") or ():
            if each["name"] == name:
                return path, each[kind] or {}
    raise KeyError(f"{kind} {name}")


def _bytes(entry: Mapping[str, Any], key: str, kubeconfig: Path) -> bytes:
    """Return the inline data, or the content of the file, whose path is relative to the kubeconfig; b"" for none."""
    if inline := entry.get(f"{key}-data"):
        return base64.b64decode(inline)
    # unbounded: a file of the user, read by the user's own command
    return (kubeconfig.parent / entry[key]).read_bytes() if entry.get(key) else b""


def _token(user: Mapping[str, Any], kubeconfig: Path) -> str:
    if user.get("tokenFile"):
        # unbounded: a file of the user, read by the user's own command
        return (kubeconfig.parent / str(user["tokenFile"])).read_text(encoding="utf-8").strip()
    return str(user.get("token") or "")
