"""`mooring scale`: set the number of a StatefulSet's replicas."""

import sys

import click

from provisioner.cli.exits import USAGE, CommandError
from provisioner.cli.options import Target, split_names, with_target
from provisioner.model.kinds import STATEFUL_SET


@click.command("scale")
@click.argument("what", nargs=-1, required=True)
@click.option("--replicas", type=click.IntRange(min=0), required=True, help="The desired number of pods.")
@with_target
def command(*, what: tuple[str, ...], replicas: int, target: Target) -> None:
    """
    Set the number of a StatefulSet's pods.

    WHAT is statefulset NAME or statefulset/NAME.
    """
    for kind, name in split_names(what):
        if kind != STATEFUL_SET or not name:
            raise CommandError("only a StatefulSet can be scaled: statefulset/NAME", code=USAGE)
        target.client.call(
            "PATCH",
            kind.path(target.namespace, name, "scale"),
            body={"spec": {"replicas": replicas}},
            content_type="application/merge-patch+json",
        )
        sys.stdout.write(f"{kind.singular}.{kind.group}/{name} scaled\n")
