"""
The last refusal of a claim's volume, recorded on the claim, so that it outlives its Event and the controller.

It is in force until the claim or one of its classes changes what is requested, or until the claim is bound.
"""

import hashlib
from typing import Final

from provisioner.binding.decision import Reason
from provisioner.binding.facts import Facts
from provisioner.model.refusal import Refusal

DIGEST: Final = 16


def asked(facts: Facts) -> str:
    """
    Return a digest of the claim and of everything that it and its classes request; a refusal of another digest is void.

    The node is not included, since the request is the same on every node.
    """
    claim, storage_class, attributes = facts.claim, facts.storage_class, facts.attributes_class
    request: list[object] = [
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
        request += [storage_class.provisioner, sorted(storage_class.parameters.items()), storage_class.mount_options]
        request += [storage_class.reclaim_policy, storage_class.waits_for_consumer, storage_class.allows_expansion]
        request += [topologies]
    if attributes is not None:
        request += [attributes.driver, sorted(attributes.parameters.items())]
    return hashlib.sha256(repr(request).encode()).hexdigest()[:DIGEST]


def in_force(facts: Facts) -> Refusal | None:
    """Return the recorded refusal, unless the request has changed since; None when there is none."""
    found = facts.claim.refusal
    return found if found is not None and found.asked == asked(facts) else None


def last_refusal(facts: Facts) -> tuple[Reason, ...]:
    """Return the refusal in force as a reason: one of the driver, or one of the controller."""
    found = in_force(facts)
    if found is None:
        return ()
    code = "creation-refused" if found.code.isupper() else "creation-blocked"
    return (Reason(code, requested=found.time, actual=found.message),)
