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

from provisioner.cli.exits import BAD_INPUT, UNREACHABLE, CommandFailed
from provisioner.embedded.settings import default_state


@dataclass(frozen=True, slots=True)
class Server:
    """A server's address, how to trust it, and who we are. `kubeconfig` is where all this stands."""

    url: str
    authority: bytes
    insecure: bool
    token: str
    certificate: bytes
    key: bytes
    namespace: str
    kubeconfig: Path

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


def find(*, kubeconfig: Path | None, state: Path | None) -> Path:
    """
    The kubeconfig to use.

    In this order: --kubeconfig; the engine's in --state or MOORING_STATE; the engine's in the default state directory,
    if it is there; KUBECONFIG; ``~/.kube/config``.
    """
    if kubeconfig is not None:
        return kubeconfig
    if state is None and "MOORING_STATE" in os.environ:
        state = default_state(os.environ, uid=os.geteuid())
    if state is not None:
        return state / "kubeconfig"
    usual = default_state(os.environ, uid=os.geteuid()) / "kubeconfig"
    if usual.exists():
        return usual
    named = os.environ.get("KUBECONFIG", "").partition(os.pathsep)[0]
    elsewhere = Path(named) if named else Path(os.environ.get("HOME", "/"), ".kube", "config")
    return elsewhere if elsewhere.exists() else usual


def read(path: Path) -> Server:
    """Read the current context. Raises CommandFailed."""
    try:
        config = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 # safe
    except FileNotFoundError:
        message = f"no engine has run here ({path} does not exist); start one with `mooring up`, or name a --kubeconfig"
        raise CommandFailed(message, code=UNREACHABLE) from None
    except (OSError, yaml.YAMLError) as error:
        raise CommandFailed(f"{path} cannot be read: {error}", code=BAD_INPUT) from None
    try:
        context = _named(config, "context", config["current-context"])
        cluster = _named(config, "cluster", context["cluster"])
        user = _named(config, "user", context["user"])
        if unknown := {"exec", "auth-provider"} & user.keys():
            message = (
                f"{path}: users that sign in by {unknown.pop()} are not supported here; use kubectl for that cluster"
            )
            raise CommandFailed(message, code=BAD_INPUT)
        return Server(
            url=str(cluster["server"]).rstrip("/"),
            authority=_bytes(cluster, "certificate-authority", path),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            token=_token(user, path),
            certificate=_bytes(user, "client-certificate", path),
            key=_bytes(user, "client-key", path),
            namespace=str(context.get("namespace") or "default"),
            kubeconfig=path,
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise CommandFailed(f"{path} is not a kubeconfig that can be used: {error!r}", code=BAD_INPUT) from None


def _named(config: Any, kind: str, name: str) -> dict[str, Any]:
    found = next(each for each in [*config[f"{kind}s"], None] if each is None or each["name"] == name)
    if found is None:
        raise KeyError(f"{kind} {name}")
    entry: dict[str, Any] = found[kind] or {}
    return entry


def _bytes(entry: Mapping[str, Any], key: str, kubeconfig: Path) -> bytes:
    """Inline data, or the file beside the kubeconfig."""
    if inline := entry.get(f"{key}-data"):
        return base64.b64decode(inline)
    return (kubeconfig.parent / entry[key]).read_bytes() if entry.get(key) else b""


def _token(user: Mapping[str, Any], kubeconfig: Path) -> str:
    if user.get("tokenFile"):
        return (kubeconfig.parent / str(user["tokenFile"])).read_text(encoding="utf-8").strip()
    return str(user.get("token") or "")
