"""A claim adopts its former volume together with its siblings, or waits for it."""

from provisioner.binding.adoption.evaluate import evaluate
from provisioner.binding.adoption.siblings import together
from provisioner.binding.decision import Decision
from provisioner.binding.facts import Facts


def adopt(facts: Facts) -> Decision | None:
    """Adopt the former volume or wait for it; None when the claim has none, or its class does not adopt."""
    evaluation = evaluate(facts)
    return together(facts, evaluation) if evaluation else None
