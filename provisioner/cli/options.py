"""Options that many commands share, and what they lead to."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from provisioner.cli import kubeconfig
from provisioner.cli.client import Client
from provisioner.cli.exits import USAGE, CommandFailed
from provisioner.model.kinds import KINDS, Kind, kind_named


@dataclass(frozen=True, slots=True)
class Target:
    """The server, the namespace, and whether all namespaces are meant."""

    client: Client
    namespace: str
    everywhere: bool = False

    def within(self, kind: Kind) -> str:
        """The namespace for a path of this kind; "" for cluster-scoped kinds and for all namespaces."""
        return self.namespace if kind.namespaced and not self.everywhere else ""


def state_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The engine's state directory."""
    return click.option(
        "--state", type=click.Path(path_type=Path), help="The engine's state directory [env: MOORING_STATE]."
    )(command)


def with_target(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command a `target`, from --state, --kubeconfig and -n."""

    @click.option("--kubeconfig", type=click.Path(path_type=Path), help="Another server's kubeconfig.")
    @state_option
    @click.option("-n", "--namespace", help="The namespace; default as the kubeconfig says.")
    @functools.wraps(command)
    def with_it(*args: Any, kubeconfig: Path | None, state: Path | None, namespace: str | None, **others: Any) -> Any:
        return command(*args, target=target_of(kubeconfig=kubeconfig, state=state, namespace=namespace), **others)

    return with_it


def target_of(*, kubeconfig: Path | None, state: Path | None, namespace: str | None) -> Target:
    """The server that the options mean."""
    server = _read(kubeconfig, state)
    return Target(Client(server), namespace or server.namespace)


def _read(path: Path | None, state: Path | None) -> kubeconfig.Server:
    return kubeconfig.read(kubeconfig.find(kubeconfig=path, state=state))


def kind_or_fail(word: str) -> Kind:
    """The kind a word means. Raises CommandFailed that lists them."""
    kind = kind_named(word)
    if kind is None:
        known = ", ".join(each.plural for each in KINDS)
        raise CommandFailed(f"there is no kind {word!r}; there are {known}", code=USAGE)
    return kind


def split_names(words: tuple[str, ...]) -> list[tuple[Kind, str]]:
    """``KIND NAME…`` or ``KIND/NAME…`` as (kind, name); a lone kind has the name ""."""
    if not words:
        raise CommandFailed("name a kind, such as pods, pvc or pv", code=USAGE)
    if "/" in words[0]:
        found = []
        for word in words:
            kind, slash, name = word.partition("/")
            if not slash or not name:
                raise CommandFailed(f"{word!r} is not of the form KIND/NAME, as the first is", code=USAGE)
            found.append((kind_or_fail(kind), name))
        return found
    kinds = [kind_or_fail(each) for each in words[0].split(",") if each]
    if len(words) == 1:
        return [(kind, "") for kind in kinds]
    if len(kinds) != 1:
        raise CommandFailed("names go with one kind only", code=USAGE)
    return [(kinds[0], name) for name in words[1:]]
