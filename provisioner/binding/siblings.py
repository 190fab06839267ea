"""
The claims of one pod are reached from one node, or the pod never starts: so they are decided together.

Former volumes come back to all of them or to none yet; a new one is made only where those of the others are reached. A
claim judges its siblings as each of them judges itself, so that all come to the same answer.
"""

from collections.abc import Iterator, Sequence

from provisioner.binding.decision import Action, Decision, Reason, wait
from provisioner.binding.facts import Facts
from provisioner.binding.former import Former
from provisioner.binding.judge import Judged, judge
from provisioner.binding.match import rejection
from provisioner.model import history, names
from provisioner.model.node import Node
from provisioner.model.volume import Volume


def own_volume(facts: Facts) -> Volume | None:
    """The volume that names the claim and can be bound to it."""
    claim = facts.claim
    named = facts.volumes.naming(claim.namespace, claim.name)
    return next((each for each in named if each.belongs_to(claim) and not rejection(claim, each)), None)


def together(facts: Facts, judged: Judged) -> Decision:
    """The same decision about a former volume, or to wait where the siblings cannot have theirs along with it."""
    if judged.former is None:
        return judged.decision
    against = _alone(facts, judged.former)
    if against is None and judged.decision.action is not Action.EXPAND:
        against = _grows_first(facts, judged.former)
    return Decision(Action.WAIT, (against,), volume=judged.decision.volume) if against else judged.decision


def taken_back(facts: Facts, own: Volume) -> Decision | None:
    """
    Undo an adoption whose siblings cannot follow: the controller ended between one and the other, and things changed.

    Only while the binder has not begun: a volume whose phase is Bound stays where it is.
    """
    held = history.read(own.annotations.get(names.HISTORY, ""))
    was_adopted = len(held) > 1 and held[-1].claim_uid == facts.claim.uid
    if own.driver != names.DRIVER or own.phase == "Bound" or not was_adopted:
        return None
    against = _alone(facts, Former(own, None))
    return Decision(Action.TAKE_BACK, (against,), volume=own.name) if against else None


def apart(facts: Facts, node: Node) -> Decision | None:
    """Wait when a volume on `node` could not be mounted together with those of the siblings; else None."""
    if waits := _waits_for(facts):
        return waits
    for sibling, theirs in _has_or_gets(facts):
        if not theirs.reached_from(node):
            code = "sibling-elsewhere" if any(map(theirs.reached_from, facts.nodes)) else "sibling-away"
            return wait(code, wanted=node.name, had=f"{theirs.name} of claim {sibling.claim.name}")
    return None


def beside(facts: Facts) -> Decision | None:
    """
    Wait while nobody can tell on which node a new volume would be beside those of the siblings; else None.

    For a class that does not wait for a consumer: no scheduler chooses one node for the pod. So the first claim by name
    gets its volume first, and once that leaves one node, all others at the same time.
    """
    if waits := _waits_for(facts):
        return waits
    having = {sibling.claim.name: theirs for sibling, theirs in _has_or_gets(facts)}
    where = reached(facts) if having else ()
    if having and not where:
        name, theirs = next(iter(having.items()))
        return wait("sibling-away", had=f"{theirs.name} of claim {name}")
    for name in facts.missing:
        if name < facts.claim.name:
            return wait("after-sibling", wanted=name)
    if len(where) == 1:
        return None
    for sibling in facts.siblings:
        is_served_at_once = sibling.storage_class and sibling.storage_class.ours and not sibling.waits_for_consumer
        if is_served_at_once and sibling.claim.name not in having and sibling.claim.name < facts.claim.name:
            return wait("after-sibling", wanted=sibling.claim.name)
    return None


def _waits_for(facts: Facts) -> Decision | None:
    """Wait while a sibling waits for its former volume: nobody knows yet where that will be."""
    for sibling in facts.siblings:
        judged = _judged(sibling)
        if judged and judged.waits:
            return wait("sibling-waits", wanted=sibling.claim.name, had=judged.decision.sentence)
    return None


def reached(facts: Facts) -> Sequence[Node]:
    """The nodes from which the volumes of all siblings are reached."""
    volumes = [theirs for _, theirs in _has_or_gets(facts)]
    return [node for node in facts.nodes if all(theirs.reached_from(node) for theirs in volumes)]


def _alone(facts: Facts, former: Former) -> Reason | None:
    """Why the former volume would come back without what its pod needs besides; None when all come back."""
    for name in facts.missing:
        return Reason("former-sibling-missing", former.name, name)
    for sibling in facts.siblings:
        if sibling.claim.deleting:
            return Reason("former-sibling-deleting", former.name, sibling.claim.name)
        judged = _judged(sibling)
        if judged and judged.waits:
            return Reason("former-sibling", former.name, sibling.claim.name, judged.decision.sentence)
    nodes = list(filter(former.reached_from, facts.nodes))
    for sibling, theirs in _has_or_gets(facts):
        nodes = list(filter(theirs.reached_from, nodes))
        if not nodes:
            return Reason("former-apart", former.name, sibling.claim.name, theirs.name)
    return None


def _grows_first(facts: Facts, former: Former) -> Reason | None:
    """Growing may be refused, and then none comes back; those that are too small grow at the same time."""
    for sibling in facts.siblings:
        judged = _judged(sibling)
        if judged and judged.decision.action is Action.EXPAND:
            return Reason("former-sibling-grows", former.name, sibling.claim.name, judged.decision.volume)
    return None


def _has_or_gets(facts: Facts) -> Iterator[tuple[Facts, Former]]:
    """The siblings that have a volume, or get their former one back, with that."""
    for sibling in facts.siblings:
        had = _had(sibling)
        judged = _judged(sibling)
        former = Former(had, None) if had else judged.former if judged else None
        if former:
            yield sibling, former


def _judged(sibling: Facts) -> Judged | None:
    """What becomes of a sibling that has no volume yet."""
    return None if sibling.claim.volume_name or _had(sibling) else judge(sibling)


def _had(facts: Facts) -> Volume | None:
    """The volume that the claim is bound to, or is being bound to."""
    return facts.named if facts.claim.volume_name else own_volume(facts)
