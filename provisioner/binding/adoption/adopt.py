"""A claim's former volume comes back to it, together with those of its siblings, or the claim waits for it."""

from provisioner.binding.adoption.evaluate import evaluate
from provisioner.binding.adoption.siblings import together
from provisioner.binding.decision import Decision
from provisioner.binding.facts import Facts


def adopt(facts: Facts) -> Decision | None:
    """Give the former volume back, wait for it, or None: the claim has none, or its class does not adopt."""
    judged = evaluate(facts)
    return together(facts, judged) if judged else None
