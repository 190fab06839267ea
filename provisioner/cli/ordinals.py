"""The claims that a command acts on: one claim, or with --all a StatefulSet's claims without a volume."""

from provisioner.cli.exits import CommandError
from provisioner.cli.options import Target
from provisioner.model.kinds import CLAIM, STATEFUL_SET, Json
from provisioner.model.stateful_set import StatefulSet


def selected_claims(target: Target, name: str, *, of_set: bool) -> list[Json]:
    """
    Return the claim `name`, or with `of_set` the claims without a volume of the StatefulSet `name`, sorted by name.

    Raises CommandError when the set has no such claim, StatusError, and InvalidObjectError.
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
        raise CommandError(f"StatefulSet {target.namespace}/{name} has no claim without a volume")
    return sorted(found, key=lambda each: str(each["metadata"]["name"]))
