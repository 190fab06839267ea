"""Write a claim's status: merge conditions, guard by resourceVersion, skip writes that change nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime

from provisioner.kube.transport import Transport
from provisioner.model.kinds import CLAIM, Json, Object


def conditions(claim: Object, *, family: frozenset[str], true: Mapping[str, str]) -> list[Json]:
    """
    Return the claim's conditions, in which of the types `family` only those in `true` are left, with their messages.

    A condition that was true before with the same message keeps its transition time.
    """
    before = claim.get("status", {}).get("conditions") or []
    retained = [each for each in before if each["type"] not in family or _is_in(each, true)]
    existing = {each["type"] for each in retained}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return retained + [_condition(name, text, now) for name, text in true.items() if name not in existing]


def _is_in(condition: Object, true: Mapping[str, str]) -> bool:
    expected = true.get(condition["type"])
    return condition.get("status") == "True" and expected == (condition.get("message") or "")


def _condition(name: str, message: str, now: str) -> Json:
    found: Json = {"type": name, "status": "True", "lastTransitionTime": now}
    if message:
        found["message"] = message
    return found


async def write_status(transport: Transport, claim: Json, status: Json) -> Json:
    """
    Merge `status` into the claim's status, unless it is there already; return the claim as it is now.

    Raises Conflict when the claim has changed since the decision.
    """
    if not _changes(claim.get("status", {}), status):
        return claim
    metadata = claim["metadata"]
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]}, "status": status}
    return await transport.patch(CLAIM, metadata["name"], patch, namespace=metadata["namespace"], subresource="status")


def _changes(before: object, patch: object) -> bool:
    """Report whether the merge patch would change anything."""
    if not isinstance(patch, dict):
        return before != (patch or None)
    existing = before if isinstance(before, dict) else {}
    return any(_changes(existing.get(key), value) for key, value in patch.items())
