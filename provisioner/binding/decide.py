"""Decide how a claim gets its volume, in one order for all classes and clusters."""

import dataclasses

from provisioner.binding.adoption.adopt import adopt
from provisioner.binding.adoption.evaluate import passed_over
from provisioner.binding.adoption.siblings import apart, beside, own_volume, reached, reverted
from provisioner.binding.decision import Action, Decision, Reason, wait
from provisioner.binding.facts import Facts
from provisioner.binding.lifecycle.modify import class_problem as attributes_problem
from provisioner.binding.refused import last_refusal
from provisioner.model.claim import Claim
from provisioner.model.data_source import Populator
from provisioner.model.errors import InvalidParameterError
from provisioner.model.storage_class import DEFAULT_BACKEND, ClassParameters, StorageClass

NO_PROVISIONER = "kubernetes.io/no-provisioner"
WAITS_FOR_NODE = frozenset({"unscheduled", "first-consumer"})
"""Reasons to wait until the scheduler selects a node; a refusal on another node is still reported."""
SERVED_MODES = ("ReadWriteOnce", "ReadWriteOncePod")
"""The access modes that a volume on one node's disk supports; the driver refuses the others."""


def decide(facts: Facts) -> Decision:
    """
    Decide what to do for the claim now.

    1. Bind a volume that it names, or that names it. 2. Adopt its former volume. 3. Bind the best fit. 4. Provision a
    new volume.
    """
    claim = facts.claim
    if claim.bind_completed or claim.volume_name:
        return _named(facts)
    if own := own_volume(facts):
        return reverted(facts, own) or Decision(Action.BIND, volume=own.name)
    if claim.deleting:
        return wait("deleting")
    return adopt(facts) or _fit(facts) or _with_refusal(facts, _provision(facts))


def _named(facts: Facts) -> Decision:
    claim = facts.claim
    volume = facts.named
    if claim.bind_completed:
        if volume is not None and (volume.claim_ref is None or volume.claim_ref.uid == claim.uid):
            return Decision(Action.DONE, (Reason("bound", actual=volume.name),), volume=volume.name)
        actual = "belongs to another claim" if volume else "does not exist"
        return wait("lost", requested=claim.volume_name, actual=actual)
    if volume is None:
        return wait("volume-unknown", requested=claim.volume_name)
    return Decision(Action.NOT_MANAGED, (Reason("bound", actual=volume.name),), volume=volume.name)


def _fit(facts: Facts) -> Decision | None:
    """Match the claim with existing volumes; with WaitForFirstConsumer only once a node is selected."""
    found = facts.volumes.match_claim(facts.claim, delay=facts.waits_for_consumer)
    return Decision(Action.BIND, volume=found.name) if found else None


def _with_refusal(facts: Facts, decision: Decision) -> Decision:
    """Add the last refusal to a decision that creates a volume, or that waits for the node to create it on."""
    waits_for_node = any(reason.code in WAITS_FOR_NODE for reason in decision.reasons)
    if decision.action is not Action.PROVISION and not waits_for_node:
        return decision
    return dataclasses.replace(decision, reasons=(*decision.reasons, *last_refusal(facts)))


def _provision(facts: Facts) -> Decision:
    claim, storage_class = facts.claim, facts.storage_class
    if not claim.class_name:
        return wait("no-class")
    if storage_class is None:
        return wait("class-unknown", requested=claim.class_name)
    if storage_class.provisioner in {"", NO_PROVISIONER}:
        return wait("class-static", requested=storage_class.name)
    if not storage_class.is_managed:
        return Decision(
            Action.NOT_MANAGED,
            (Reason("class-foreign", requested=storage_class.name, actual=storage_class.provisioner),),
        )
    if not_empty := _from_source(claim):
        return not_empty
    if problem := class_problem(storage_class) or cannot_serve(claim, storage_class):
        return Decision(Action.WAIT, (problem,))
    if problem := attributes_problem(claim.attributes_class, facts.attributes_class):
        return Decision(Action.WAIT, (problem,))
    if claim.selector is not None and claim.selector.requirements:  # an empty one selects every volume
        return wait("selector-set")
    if storage_class.waits_for_consumer:
        return _on_selected_node(facts, storage_class)
    if nowhere := _nowhere(facts, storage_class):
        return nowhere
    if waits_for_sibling := beside(facts):
        return waits_for_sibling
    allowed = None
    if facts.siblings or storage_class.allowed_topologies:
        allowed = frozenset(node.name for node in reached(facts) if storage_class.allows(node.labels))
    return Decision(Action.PROVISION, _new(facts), candidates=allowed)


def _from_source(claim: Claim) -> Decision | None:
    """Wait, or leave the claim to its populator, when it has a data source; None without one."""
    source = claim.data_source
    if source is None:
        return None
    match source.populator:
        case Populator.NONE:
            return wait("source-namespace", requested=str(source))
        case Populator.DRIVER:
            return wait("source-unsupported", requested=str(source))
        case Populator.EXTERNAL:
            return Decision(Action.NOT_MANAGED, (Reason("source-populator", requested=str(source)),))


def _on_selected_node(facts: Facts, storage_class: StorageClass) -> Decision:
    claim = facts.claim
    if not claim.selected_node:
        return _nowhere(facts, storage_class) or _unselected(facts)
    if facts.node is None:
        return wait("node-unknown", requested=claim.selected_node)
    if not storage_class.allows(facts.node.labels):
        return wait("class-topology", requested=claim.selected_node, actual=storage_class.name)
    if waits_for_sibling := apart(facts, facts.node):
        return waits_for_sibling
    return Decision(Action.PROVISION, _new(facts), node=claim.selected_node)


def _nowhere(facts: Facts, storage_class: StorageClass) -> Decision | None:
    """Wait for a node in the class's allowedTopologies; None when there is one, or the class has none."""
    if not storage_class.allowed_topologies or any(storage_class.allows(node.labels) for node in facts.nodes):
        return None
    return wait("class-no-node", requested=storage_class.name, actual=_topologies(storage_class))


def _topologies(storage_class: StorageClass) -> str:
    """Return the class's allowedTopologies as text: terms are ORed, labels of a term are ANDed."""
    terms = (
        " and ".join(f"{key} in {'|'.join(values)}" for key, values in term.items())
        for term in storage_class.allowed_topologies
    )
    return ", or ".join(terms)


def _new(facts: Facts) -> tuple[Reason, ...]:
    """Return the reasons of a new volume, also that an older one stays unused because of the class."""
    older = passed_over(facts)
    return (Reason("provisioning"), older) if older else (Reason("provisioning"),)


def _unselected(facts: Facts) -> Decision:
    """Wait for the first consumer of a claim without a selected node, naming the pod if there is one."""
    waiting = [pod for pod in facts.pods if not pod.deleting]
    if not waiting:
        return wait("first-consumer")
    placed = next((pod for pod in waiting if pod.node_name), None)
    return wait("node-name", actual=placed.name) if placed else wait("unscheduled", actual=waiting[0].name)


def cannot_serve(claim: Claim, storage_class: StorageClass) -> Reason | None:
    """Return why the class's backend cannot create the requested volume on any node; None when it can."""
    if unserved := [each for each in claim.modes if each not in SERVED_MODES]:
        return Reason("class-modes", requested=", ".join(unserved), actual=", ".join(SERVED_MODES))
    backend = storage_class.parameters.get("backend", DEFAULT_BACKEND)
    if claim.volume_mode == "Block" and backend == "directory":
        return Reason("class-block", requested=storage_class.name, actual=backend)
    return None


def class_problem(storage_class: StorageClass) -> Reason | None:
    """Return what is wrong with a class of Mooring; None when it is valid."""
    try:
        parameters = ClassParameters.parse(storage_class.parameters)
    except InvalidParameterError as error:
        return Reason("class-parameters", requested=storage_class.name, actual=str(error))
    if parameters.adopt != "Never" and storage_class.reclaim_policy == "Delete":
        return Reason("class-adopt-delete", requested=storage_class.name, actual=parameters.adopt)
    return None
