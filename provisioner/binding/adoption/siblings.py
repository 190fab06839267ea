"""
Decide about the claims of one pod together, because one node must reach all their volumes.

Either all of them adopt their former volumes, or none does for now; a new volume is provisioned only on a node that
reaches the others. Each claim evaluates its siblings as they evaluate themselves, so that all get the same result.
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
    """Return the volume that names the claim and can be bound to it, if there is one."""
    return _naming(facts.claim, facts.volumes)


def has_new_volume(claim: Claim, volumes: Index) -> bool:
    """
    Report whether a volume names the claim and is no former volume, so that it is bound regardless of the siblings.

    The adoption of a former volume may still be reverted, where the siblings cannot adopt theirs.
    """
    own = _naming(claim, volumes)
    return own is not None and not _may_be_reverted(claim, own)


def _naming(claim: Claim, volumes: Index) -> Volume | None:
    named = volumes.naming(claim.namespace, claim.name)
    return next((each for each in named if each.belongs_to(claim) and not rejection(claim, each)), None)


def _may_be_reverted(claim: Claim, own: Volume) -> bool:
    owners = history.read(own.annotations.get(names.HISTORY, ""))
    was_adopted = len(owners) > 1 and owners[-1].claim_uid == claim.uid
    return own.driver == names.DRIVER and own.phase != "Bound" and was_adopted


def together(facts: Facts, evaluation: Evaluation) -> Decision:
    """Return the decision about a former volume, or wait if the siblings cannot adopt theirs."""
    if evaluation.former is None:
        return evaluation.decision
    others = _evaluated(facts)
    against = _alone(facts, others, evaluation.former)
    if against is None and evaluation.decision.action is not Action.EXPAND:
        against = _expands_first(others, evaluation.former)
    return Decision(Action.WAIT, (against,), volume=evaluation.decision.volume) if against else evaluation.decision


def reverted(facts: Facts, own: Volume) -> Decision | None:
    """
    Revert an adoption if the siblings cannot adopt theirs: the controller may have stopped after some of them.

    It is reverted only before the binder has started: a volume in phase Bound stays.
    """
    if not _may_be_reverted(facts.claim, own):
        return None
    against = _alone(facts, _evaluated(facts), Former(own, None))
    return Decision(Action.REVERT_ADOPTION, (against,), volume=own.name) if against else None


def apart(facts: Facts, node: Node) -> Decision | None:
    """Wait when a volume on `node` could not be mounted together with those of the siblings; None otherwise."""
    others = _evaluated(facts)
    if waits := _waits_for(others):
        return waits
    for sibling, other in _has_or_gets(others):
        if not other.reached_from(node):
            code = "sibling-elsewhere" if any(map(other.reached_from, facts.nodes)) else "sibling-unavailable"
            return wait(code, requested=node.name, actual=f"{other.name} of claim {sibling.claim.name}")
    return None


def beside(facts: Facts) -> Decision | None:
    """
    Wait while it is unknown which node reaches the volumes of all siblings; None otherwise.

    This is for Immediate classes, where no scheduler selects one node for the pod. The first claim by name gets its
    volume first; once that determines the node, all others get theirs at the same time.
    """
    others = _evaluated(facts)
    if waits := _waits_for(others):
        return waits
    having = {sibling.claim.name: other for sibling, other in _has_or_gets(others)}
    where = _reached(facts, others) if having else ()
    if having and not where:
        name, other = next(iter(having.items()))
        return wait("sibling-unavailable", actual=f"{other.name} of claim {name}")
    for name in facts.missing:
        if name < facts.claim.name:
            return wait("after-sibling", requested=name)
    if len(where) == 1:
        return None
    for sibling in facts.siblings:
        is_served_at_once = (
            sibling.storage_class and sibling.storage_class.is_managed and not sibling.waits_for_consumer
        )
        if is_served_at_once and sibling.claim.name not in having and sibling.claim.name < facts.claim.name:
            return wait("after-sibling", requested=sibling.claim.name)
    return None


def reached(facts: Facts) -> Sequence[Node]:
    """Return the nodes that reach the volumes of all siblings."""
    return _reached(facts, _evaluated(facts))


@dataclass(frozen=True, slots=True)
class _Sibling:
    """
    Another claim of the pod, evaluated once for the whole decision.

    :ivar bound: the volume that it is bound to
    :ivar evaluation: of a claim that has no volume
    """

    facts: Facts
    bound: Volume | None
    evaluation: Evaluation | None

    @property
    def waits(self) -> bool:
        """Whether the claim waits for its former volume."""
        return self.evaluation is not None and self.evaluation.waits

    @property
    def former(self) -> Former | None:
        """The volume that the claim has or adopts."""
        if self.bound is not None:
            return Former(self.bound, None)
        return self.evaluation.former if self.evaluation else None


def _evaluated(facts: Facts) -> Sequence[_Sibling]:
    found = []
    for each in facts.siblings:
        bound = _bound_to(each)
        evaluation = None if bound or each.claim.volume_name else evaluate(each)
        found.append(_Sibling(each, bound, evaluation))
    return found


def _waits_for(others: Sequence[_Sibling]) -> Decision | None:
    """Wait while a sibling waits for its former volume, whose node is not known yet."""
    for each in others:
        if each.evaluation is not None and each.waits:
            return wait("sibling-waits", requested=each.facts.claim.name, actual=each.evaluation.decision.message)
    return None


def _reached(facts: Facts, others: Sequence[_Sibling]) -> Sequence[Node]:
    volumes = [other for _, other in _has_or_gets(others)]
    return [node for node in facts.nodes if all(other.reached_from(node) for other in volumes)]


def _alone(facts: Facts, others: Sequence[_Sibling], former: Former) -> Reason | None:
    """Return why the former volume would be adopted without those of the siblings; None when all are adopted."""
    for name in facts.missing:
        return Reason("former-sibling-missing", former.name, name)
    for each in others:
        if each.facts.claim.deleting:
            return Reason("former-sibling-deleting", former.name, each.facts.claim.name)
        if each.evaluation is not None and each.waits:
            return Reason("former-sibling", former.name, each.facts.claim.name, each.evaluation.decision.message)
    nodes = list(filter(former.reached_from, facts.nodes))
    for sibling, other in _has_or_gets(others):
        nodes = list(filter(other.reached_from, nodes))
        if not nodes:
            return Reason("former-on-different-nodes", former.name, sibling.claim.name, other.name)
    return None


def _expands_first(others: Sequence[_Sibling], former: Former) -> Reason | None:
    """Wait until the siblings' volumes are expanded: if one is refused, none is adopted. They expand at once."""
    for each in others:
        if each.evaluation is not None and each.evaluation.decision.action is Action.EXPAND:
            return Reason(
                "former-sibling-expanding", former.name, each.facts.claim.name, each.evaluation.decision.volume
            )
    return None


def _has_or_gets(others: Sequence[_Sibling]) -> Iterator[tuple[Facts, Former]]:
    """Return the siblings that have a volume or adopt their former one, with that volume."""
    for each in others:
        if former := each.former:
            yield each.facts, former


def _bound_to(facts: Facts) -> Volume | None:
    """Return the volume that the claim is bound to, or is being bound to."""
    return facts.named if facts.claim.volume_name else own_volume(facts)
