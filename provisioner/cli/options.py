"""Options that several commands have, and the server and namespace that they select."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from provisioner.cli.client import Client
from provisioner.cli.exits import USAGE, CommandError
from provisioner.cli.kubeconfig import find, read
from provisioner.cli.program import PLUGIN
from provisioner.model.kinds import KINDS, Kind, kind_named
from provisioner.model.quantity import InvalidQuantityError, Quantity


class Size(click.ParamType[int]):
    """The parameter type of a Kubernetes quantity of bytes, such as 10Gi."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes, rounded up."""
        try:
            return Quantity.parse(str(value)).ceil_bytes
        except InvalidQuantityError:
            self.fail(f"{value!r} is not a quantity; write for example 500Mi or 10Gi", param, ctx)


@dataclass(frozen=True, slots=True)
class Target:
    """The API server and the namespace of a command, or all namespaces."""

    client: Client
    namespace: str
    all_namespaces: bool = False

    def within(self, kind: Kind) -> str:
        """Return the namespace for a path of this kind; "" for cluster-scoped kinds and for all namespaces."""
        return self.namespace if kind.namespaced and not self.all_namespaces else ""


def state_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option --state, the engine's state directory."""
    return click.option(
        "--state", type=click.Path(path_type=Path), help="The engine's state directory [env: MOORING_STATE]."
    )(command)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a server, --kubeconfig, --context and --state: parameters `kubeconfig`, `context`, `state`."""
    command = state_option(command)
    command = click.option("--context", default="", help="A context of the kubeconfig, as for kubectl.")(command)
    return click.option("--kubeconfig", type=click.Path(path_type=Path), help="The kubeconfig of a cluster.")(command)


def with_target(command: Callable[..., Any]) -> Callable[..., Any]:
    """Pass the command a `target`, from --state, --kubeconfig, --context and -n."""

    @server_options
    @click.option("-n", "--namespace", help="The namespace.  [default: the context's namespace]")
    @functools.wraps(command)
    def with_target_of_options(
        *args: Any, kubeconfig: Path | None, context: str, state: Path | None, namespace: str | None, **others: Any
    ) -> Any:
        target = target_of(kubeconfig=kubeconfig, context=context, state=state, namespace=namespace)
        return command(*args, target=target, **others)

    return with_target_of_options


def target_of(*, kubeconfig: Path | None, context: str, state: Path | None, namespace: str | None) -> Target:
    """Return the server and namespace that the options select. Raises CommandError."""
    found = find(os.environ, kubeconfig=kubeconfig, context=context, state=state, plugin=is_plugin())
    server = read(found)
    return Target(Client(server), namespace or server.namespace)


def is_plugin() -> bool:
    """Report whether the command runs as `kubectl mooring`."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_root().info_name == PLUGIN


def kind_or_fail(word: str) -> Kind:
    """Return the kind with this name, plural or short name. Raises CommandError with the list of kinds."""
    kind = kind_named(word)
    if kind is None:
        known = ", ".join(each.plural for each in KINDS)
        raise CommandError(f"unknown kind {word!r}; the kinds are {known}", code=USAGE)
    return kind


def split_names(words: tuple[str, ...]) -> list[tuple[Kind, str]]:
    """Parse ``KIND NAME…`` or ``KIND/NAME…`` to (kind, name) pairs; the name is "" for a kind alone."""
    if not words:
        raise CommandError("name a kind, such as pods, pvc or pv", code=USAGE)
    if "/" in words[0]:
        found = []
        for word in words:
            kind, slash, name = word.partition("/")
            if not slash or not name:
                raise CommandError(f"{word!r} is not of the form KIND/NAME, unlike the first argument", code=USAGE)
            found.append((kind_or_fail(kind), name))
        return found
    kinds = [kind_or_fail(each) for each in words[0].split(",") if each]
    if len(words) == 1:
        return [(kind, "") for kind in kinds]
    if len(kinds) != 1:
        raise CommandError("names can be given for one kind only", code=USAGE)
    return [(kinds[0], name) for name in words[1:]]
