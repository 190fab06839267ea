"""
The claims of one pod are reached from one node, or the pod never starts: so they are decided together.

Former volumes come back to all of them or to none yet; a new one is made only where those of the others are reached. A
claim judges its siblings as each of them judges itself, so that all come to the same answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from provisioner.binding.adoption.evaluate import Evaluation, evaluate
from provisioner.binding.adoption.former import Former
from provisioner.binding.decision import Action, Decision, Reason, wait
from provisioner.binding.facts import Facts
from provisioner.binding.matching.index import Index
from provisioner.binding.matching.match import rejection
from provisioner.model import history, names
from provisioner.model.claim import Claim
from provisioner.model.node import Node
from provisioner.model.volume import Volume


def own_volume(facts: Facts) -> Volume | None:
    """The volume that names the claim and can be bound to it."""
    return _naming(facts.claim, facts.volumes)


def has_new_volume(claim: Claim, volumes: Index) -> bool:
    """
    Whether a volume names the claim and was no other claim's before: nothing is left to decide, whatever its siblings.

    A former volume may still have to be taken back, where those of the siblings cannot follow.
    """
    own = _naming(claim, volumes)
    return own is not None and not _may_be_taken_back(claim, own)


def _naming(claim: Claim, volumes: Index) -> Volume | None:
    named = volumes.naming(claim.namespace, claim.name)
    return next((each for each in named if each.belongs_to(claim) and not rejection(claim, each)), None)


def _may_be_taken_back(claim: Claim, own: Volume) -> bool:
    held = history.read(own.annotations.get(names.HISTORY, ""))
    was_adopted = len(held) > 1 and held[-1].claim_uid == claim.uid
    return own.driver == names.DRIVER and own.phase != "Bound" and was_adopted


def together(facts: Facts, judged: Evaluation) -> Decision:
    """The same decision about a former volume, or to wait where the siblings cannot have theirs along with it."""
    if judged.former is None:
        return judged.decision
    others = _evaluated(facts)
    against = _alone(facts, others, judged.former)
    if against is None and judged.decision.action is not Action.EXPAND:
        against = _grows_first(others, judged.former)
    return Decision(Action.WAIT, (against,), volume=judged.decision.volume) if against else judged.decision


def taken_back(facts: Facts, own: Volume) -> Decision | None:
    """
    Undo an adoption whose siblings cannot follow: the controller ended between one and the other, and things changed.

    Only while the binder has not begun: a volume whose phase is Bound stays where it is.
    """
    if not _may_be_taken_back(facts.claim, own):
        return None
    against = _alone(facts, _evaluated(facts), Former(own, None))
    return Decision(Action.REVERT_ADOPTION, (against,), volume=own.name) if against else None


def apart(facts: Facts, node: Node) -> Decision | None:
    """Wait when a volume on `node` could not be mounted together with those of the siblings; else None."""
    others = _evaluated(facts)
    if waits := _waits_for(others):
        return waits
    for sibling, theirs in _has_or_gets(others):
        if not theirs.reached_from(node):
            code = "sibling-elsewhere" if any(map(theirs.reached_from, facts.nodes)) else "sibling-unavailable"
            return wait(code, requested=node.name, actual=f"{theirs.name} of claim {sibling.claim.name}")
    return None


def beside(facts: Facts) -> Decision | None:
    """
    Wait while nobody can tell on which node a new volume would be beside those of the siblings; else None.

    For a class that does not wait for a consumer: no scheduler chooses one node for the pod. So the first claim by name
    gets its volume first, and once that leaves one node, all others at the same time.
    """
    others = _evaluated(facts)
    if waits := _waits_for(others):
        return waits
    having = {sibling.claim.name: theirs for sibling, theirs in _has_or_gets(others)}
    where = _reached(facts, others) if having else ()
    if having and not where:
        name, theirs = next(iter(having.items()))
        return wait("sibling-unavailable", actual=f"{theirs.name} of claim {name}")
    for name in facts.missing:
        if name < facts.claim.name:
            return wait("after-sibling", requested=name)
    if len(where) == 1:
        return None
    for sibling in facts.siblings:
        is_served_at_once = sibling.storage_class and sibling.storage_class.ours and not sibling.waits_for_consumer
        if is_served_at_once and sibling.claim.name not in having and sibling.claim.name < facts.claim.name:
            return wait("after-sibling", requested=sibling.claim.name)
    return None


def reached(facts: Facts) -> Sequence[Node]:
    """The nodes from which the volumes of all siblings are reached."""
    return _reached(facts, _evaluated(facts))


@dataclass(frozen=True, slots=True)
class _Sibling:
    """
    Another claim of the pod, evaluated once for the whole decision.

    `had` is the volume that it is bound to; `judged` what becomes of it while it has none.
    """

    facts: Facts
    actual: Volume | None
    judged: Evaluation | None

    @property
    def waits(self) -> bool:
        """Whether it waits for its former volume."""
        return self.judged is not None and self.judged.waits

    @property
    def former(self) -> Former | None:
        """The volume that it has, or gets back."""
        if self.actual is not None:
            return Former(self.actual, None)
        return self.judged.former if self.judged else None


def _evaluated(facts: Facts) -> Sequence[_Sibling]:
    found = []
    for each in facts.siblings:
        actual = _had(each)
        judged = None if actual or each.claim.volume_name else evaluate(each)
        found.append(_Sibling(each, actual, judged))
    return found


def _waits_for(others: Sequence[_Sibling]) -> Decision | None:
    """Wait while a sibling waits for its former volume: nobody knows yet where that will be."""
    for each in others:
        if each.judged is not None and each.waits:
            return wait("sibling-waits", requested=each.facts.claim.name, actual=each.judged.decision.message)
    return None


def _reached(facts: Facts, others: Sequence[_Sibling]) -> Sequence[Node]:
    volumes = [theirs for _, theirs in _has_or_gets(others)]
    return [node for node in facts.nodes if all(theirs.reached_from(node) for theirs in volumes)]


def _alone(facts: Facts, others: Sequence[_Sibling], former: Former) -> Reason | None:
    """Why the former volume would come back without what its pod needs besides; None when all come back."""
    for name in facts.missing:
        return Reason("former-sibling-missing", former.name, name)
    for each in others:
        if each.facts.claim.deleting:
            return Reason("former-sibling-deleting", former.name, each.facts.claim.name)
        if each.judged is not None and each.waits:
            return Reason("former-sibling", former.name, each.facts.claim.name, each.judged.decision.message)
    nodes = list(filter(former.reached_from, facts.nodes))
    for sibling, theirs in _has_or_gets(others):
        nodes = list(filter(theirs.reached_from, nodes))
        if not nodes:
            return Reason("former-on-different-nodes", former.name, sibling.claim.name, theirs.name)
    return None


def _grows_first(others: Sequence[_Sibling], former: Former) -> Reason | None:
    """Growing may be refused, and then none comes back; those that are too small grow at the same time."""
    for each in others:
        if each.judged is not None and each.judged.decision.action is Action.EXPAND:
            return Reason("former-sibling-expanding", former.name, each.facts.claim.name, each.judged.decision.volume)
    return None


def _has_or_gets(others: Sequence[_Sibling]) -> Iterator[tuple[Facts, Former]]:
    """The siblings that have a volume, or get their former one back, with that."""
    for each in others:
        if former := each.former:
            yield each.facts, former


def _had(facts: Facts) -> Volume | None:
    """The volume that the claim is bound to, or is being bound to."""
    return facts.named if facts.claim.volume_name else own_volume(facts)
