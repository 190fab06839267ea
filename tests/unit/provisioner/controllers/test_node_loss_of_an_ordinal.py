"""Node loss of a pod with several claims: an ordinal is recreated with all of its volumes or with none."""

import pytest

from provisioner.model.kinds import CLAIM, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json
from provisioner.model.names import RELEASED
from tests.unit.provisioner.controllers.node_loss_harness import (
    KEY,
    LONG_AGO,
    RefusingApi,
    api_with_loss,
    reconciler,
)
from tests.unit.provisioner.controllers.objects import claim, stateful_set, storage_class, volume


async def test_the_claims_of_an_ordinal_are_deleted_together_or_not_at_all() -> None:
    """No pod starts with one new volume and one that waits, and the ordinal's data would be on two nodes later."""
    two = stateful_set()
    two["spec"]["volumeClaimTemplates"].append({"metadata": {"name": "logs"}, "spec": {}})
    other, logs = volume(), claim(uid="c9", volumeName="pvc-c9", storageClassName="waits")
    other["metadata"] |= {"name": "pvc-c9", "uid": "v9"}
    other["spec"]["storageClassName"] = "waits"
    logs["metadata"]["name"] = "logs-web-0"
    api = api_with_loss((STATEFUL_SET, two), (CLAIM, logs), (VOLUME, other))
    await reconciler(api).reconcile(KEY)
    assert [] == api.writes
    [(_, reason, message)] = api.events
    assert "ClaimRetained" == reason
    assert "its pod also needs claim logs-web-0" in message

    releases = storage_class(onNodeLoss="Release")
    releases["metadata"]["name"] = "waits"
    api.put(STORAGE_CLASS, releases)
    await reconciler(api).reconcile(KEY)
    assert [("delete", CLAIM.plural, "www-web-0")] == api.writes


def _two_templates(*, phase: str, **parameters: str) -> tuple[RefusingApi, Json]:
    """Return an API server whose set has a second template, whose claim is missing, and the claim's former volume."""
    retained = storage_class(**parameters)
    retained["metadata"]["name"] = "waits"
    former = volume(phase=phase, claim_uid="c8")
    former["metadata"] |= {"name": "pvc-c8", "uid": "v8"}
    former["spec"]["storageClassName"] = "waits"
    former["spec"]["claimRef"]["name"] = "logs-web-0"
    api = api_with_loss((STATEFUL_SET, stateful_set("www", "logs")), (STORAGE_CLASS, retained), (VOLUME, former))
    return api, former


@pytest.mark.parametrize("existing", [False, True])
async def test_a_former_volume_on_the_lost_node_blocks_its_ordinal(existing: bool) -> None:
    """Its claim, missing or unbound, will wait for it, like a bound one."""
    api, _ = _two_templates(phase="Released")
    if existing:
        logs = claim(uid="c9", storageClassName="waits")
        logs["metadata"]["name"] = "logs-web-0"
        api.put(CLAIM, logs)
    await reconciler(api).reconcile(KEY)
    assert [] == api.writes
    assert "its pod also needs claim logs-web-0" in api.events[0][2]


async def test_only_a_volume_that_a_claim_waits_for_blocks_its_ordinal() -> None:
    """Not a released volume, nor one of a class that releases or never adopts, nor a former one of a bound claim."""
    released, marked = _two_templates(phase="Released")
    marked["metadata"]["annotations"][RELEASED] = LONG_AGO
    released.put(VOLUME, marked)
    elsewhere, _ = _two_templates(phase="Released")
    logs, other = claim(uid="c9", phase="Bound", volumeName="pvc-c9"), volume(claim_uid="c9")
    logs["metadata"]["name"] = other["spec"]["claimRef"]["name"] = "logs-web-0"
    other["metadata"] |= {"name": "pvc-c9", "uid": "v9"}
    del other["spec"]["nodeAffinity"]
    elsewhere.put(CLAIM, logs)
    elsewhere.put(VOLUME, other)
    releases, _ = _two_templates(phase="Released", onNodeLoss="Release")
    never, _ = _two_templates(phase="Released", adopt="Never")
    for api in (released, elsewhere, releases, never):
        await reconciler(api).reconcile(KEY)
        assert ("delete", CLAIM.plural, "www-web-0") == api.writes[0]
