"""
The last refusal of a claim's volume, as a fact: recorded on the claim, it outlives its Event and needs no controller.

It holds until something else is asked for, by the claim or by its classes, or until the claim is bound.
"""

import hashlib
from typing import Final

from provisioner.binding.decision import Reason
from provisioner.binding.facts import Facts
from provisioner.model.refusal import Refusal

DIGEST: Final = 16


def asked(facts: Facts) -> str:
    """
    Return what identifies the claim and all that it and its classes ask for: once it differs, a refusal is void.

    Not the node: the same is asked for on another one.
    """
    claim, storage_class, attributes = facts.claim, facts.storage_class, facts.attributes_class
    said: list[object] = [
        claim.uid,
        str(claim.request),
        claim.modes,
        claim.volume_mode,
        claim.class_name,
        claim.attributes_class,
        claim.forgets,
        str(claim.selector),
        str(claim.data_source),
    ]
    if storage_class is not None:
        topologies = [sorted(term.items()) for term in storage_class.allowed_topologies]
        said += [storage_class.provisioner, sorted(storage_class.parameters.items()), storage_class.mount_options]
        said += [storage_class.reclaim_policy, storage_class.waits_for_consumer, storage_class.allows_expansion]
        said += [topologies]
    if attributes is not None:
        said += [attributes.driver, sorted(attributes.parameters.items())]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:DIGEST]


def in_force(facts: Facts) -> Refusal | None:
    """Return the refusal on record, unless something else was asked for since; None when there is none."""
    found = facts.claim.refusal
    return found if found is not None and found.asked == asked(facts) else None


def last_refusal(facts: Facts) -> tuple[Reason, ...]:
    """Return the refusal in force as a reason: of the driver, or of Mooring by what only the drivers' disks tell."""
    found = in_force(facts)
    if found is None:
        return ()
    code = "creation-refused" if found.code.isupper() else "creation-blocked"
    return (Reason(code, requested=found.time, actual=found.message),)
