"""The claims that a command is about: one by its name, or with --all those of a StatefulSet that wait for a volume."""

from provisioner.cli.exits import CommandFailed
from provisioner.cli.options import Target
from provisioner.model.kinds import CLAIM, STATEFUL_SET, Json
from provisioner.model.stateful_set import StatefulSet


def claims_meant(target: Target, name: str, *, of_set: bool) -> list[Json]:
    """
    The claim `name`, or with `of_set` the claims of the StatefulSet `name` that are bound to no volume, by name.

    Raises CommandFailed when the set has no such claim, and InvalidObject.
    """
    if not of_set:
        return [target.client.get(CLAIM, namespace=target.namespace, name=name)]
    owner = StatefulSet.of(target.client.get(STATEFUL_SET, namespace=target.namespace, name=name))
    found = [
        each
        for each in target.client.get(CLAIM, namespace=target.namespace).get("items") or []
        if owner.ordinal_of(each["metadata"]["name"]) and not each["spec"].get("volumeName")
    ]
    if not found:
        raise CommandFailed(f"StatefulSet {target.namespace}/{name} has no claim that waits for a volume")
    return sorted(found, key=lambda each: str(each["metadata"]["name"]))
