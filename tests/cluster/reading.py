"""
Read objects as `kubectl get -o json` does, over HTTP, without starting kubectl.

Tests poll several times a second, and each start of kubectl costs a tenth of a second of CPU.
"""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

SECONDS = 30.0
"""The timeout of one request."""

OF_THE_CLUSTER = {"pv": "persistentvolumes", "node": "nodes", "namespace": "namespaces"}
OF_A_NAMESPACE = {"pvc": "persistentvolumeclaims", "pod": "pods", "service": "services", "event": "events"}
"""Kind of the core group as kubectl accepts it (also in the plural) → its name in the request path."""


def path_of(arguments: tuple[str, ...]) -> str | None:
    """
    Return the request path of `kubectl [-n NAMESPACE] get KIND [NAME] [-l SELECTOR] [--field-selector=SELECTOR]`.

    None for every other command.
    """
    rest, namespace, query = list(arguments), "default", {}
    words: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "-n" and rest:
            namespace = rest.pop(0)
        elif word == "-l" and rest:
            query["labelSelector"] = rest.pop(0)
        elif word.startswith("--field-selector="):
            query["fieldSelector"] = word.partition("=")[2]
        else:
            words.append(word)
    match words:
        case ["get", kind, *name] if len(name) <= 1:
            folder = _folder(kind.removesuffix("s"), namespace)
        case _:
            return None
    if folder is None:
        return None
    return "/".join([f"/api/v1/{folder}", *name]) + (f"?{urllib.parse.urlencode(query)}" if query else "")


def _folder(kind: str, namespace: str) -> str | None:
    if kind in OF_THE_CLUSTER:
        return OF_THE_CLUSTER[kind]
    return f"namespaces/{namespace}/{OF_A_NAMESPACE[kind]}" if kind in OF_A_NAMESPACE else None


def get(server: str, pki: Path, path: str) -> Any:
    """Return the object or the list at a path. Raises AssertionError, as for a kubectl that fails."""
    context = _context(pki, (pki / "admin.crt").stat().st_mtime_ns)
    request = urllib.request.Request(f"{server}{path}")  # noqa: S310 # the cluster's API server
    try:
        with urllib.request.urlopen(request, timeout=SECONDS, context=context) as answer:  # noqa: S310 # as above
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"GET {path}: {error.read().decode(errors='replace')}") from error
    except (OSError, ValueError) as error:
        raise AssertionError(f"GET {path}: {error}") from error


@cache
def _context(pki: Path, _made: int) -> ssl.SSLContext:
    """Return the TLS context of the administrator; a new one when a cluster of that name was recreated."""
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    return context
