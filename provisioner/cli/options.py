"""Options that many commands share, and what they lead to."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from provisioner.cli.client import Client
from provisioner.cli.exits import USAGE, CommandFailed
from provisioner.cli.kubeconfig import find, read
from provisioner.cli.program import PLUGIN
from provisioner.model.kinds import KINDS, Kind, kind_named
from provisioner.model.quantity import InvalidQuantity, Quantity


class Size(click.ParamType[int]):
    """A quantity of bytes, as Kubernetes writes it."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """To bytes."""
        try:
            return Quantity.parse(str(value)).ceil_bytes
        except InvalidQuantity:
            self.fail(f"{value!r} is not a quantity; write for example 500Mi or 10Gi", param, ctx)


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


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name a server: --kubeconfig, --context and --state, as `kubeconfig`, `context` and `state`."""
    command = state_option(command)
    command = click.option("--context", default="", help="A context of the kubeconfig, as for kubectl.")(command)
    return click.option("--kubeconfig", type=click.Path(path_type=Path), help="Another server's kubeconfig.")(command)


def with_target(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command a `target`, from --state, --kubeconfig, --context and -n."""

    @server_options
    @click.option("-n", "--namespace", help="The namespace; default as the kubeconfig says.")
    @functools.wraps(command)
    def with_it(
        *args: Any, kubeconfig: Path | None, context: str, state: Path | None, namespace: str | None, **others: Any
    ) -> Any:
        target = target_of(kubeconfig=kubeconfig, context=context, state=state, namespace=namespace)
        return command(*args, target=target, **others)

    return with_it


def target_of(*, kubeconfig: Path | None, context: str, state: Path | None, namespace: str | None) -> Target:
    """The server that the options mean."""
    found = find(os.environ, kubeconfig=kubeconfig, context=context, state=state, plugin=is_plugin())
    server = read(found)
    return Target(Client(server), namespace or server.namespace)


def is_plugin() -> bool:
    """Whether the command runs as `kubectl mooring`."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_root().info_name == PLUGIN


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
