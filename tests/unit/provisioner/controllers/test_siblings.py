"""Former volumes of one pod's claims, which the controller adopts together."""

import datetime as dt

import pytest

from provisioner.actions.refusals import _remedy
from provisioner.binding.decision import Action, Decision, Reason
from provisioner.controllers.claims import Claims
from provisioner.kube.control import RequeueAfter
from provisioner.model import history
from provisioner.model.history import Owner
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, POD, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import HISTORY
from provisioner.model.pod import cached_fields
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, node, stateful_set, storage_class, volume

KEYS = {"www": ("default", "www-web-0"), "logs": ("default", "logs-web-0")}
UNAVAILABLE = "8f9f6a52-5d53-4d3f-8ac5-70f3ad2c4a22"


def _claim(template: str, *, age: int = 0) -> Json:
    found = claim(uid=f"{template}-new")
    created = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)
    found["metadata"] |= {"name": f"{template}-web-0", "creationTimestamp": created.isoformat()}
    return found


def _volume(template: str, *, pool: str = POOL) -> Json:
    found = volume(phase="Released", claim_uid=f"{template}-old")
    found["metadata"] |= {"name": f"pv-{template}"}
    found["metadata"]["annotations"]["mooring.dev/template"] = template
    found["spec"]["claimRef"]["name"] = f"{template}-web-0"
    found["spec"]["csi"]["volumeHandle"] = f"{pool}.pv-{template}"
    return found


def _api(*objects: tuple[Kind, Json]) -> FakeApi:
    surroundings = ((NAMESPACE, namespace()), (NODE, node(POOL)), (STORAGE_CLASS, storage_class()))
    return FakeApi(*surroundings, (STATEFUL_SET, stateful_set("www", "logs")), *objects)


async def _reconcile(api: FakeApi, *templates: str) -> None:
    for template in templates:
        await Claims(api, api.caches, api.recorder, drivers=FakeDriver()).reconcile(KEYS[template])


def _named(api: FakeApi) -> dict[str, str]:
    """Return volume → the UID in its claimRef."""
    return {each["metadata"]["name"]: each["spec"]["claimRef"]["uid"] for each in api.all(VOLUME)}


async def test_both_volumes_are_adopted() -> None:
    """Each by a separate patch, and with an Event."""
    api = _api(*((CLAIM, _claim(each)) for each in KEYS), *((VOLUME, _volume(each)) for each in KEYS))
    await _reconcile(api, "www", "logs")
    assert {"pv-www": "www-new", "pv-logs": "logs-new"} == _named(api)
    assert ["VolumeAdopted", "VolumeAdopted"] == [reason for _, reason, _ in api.events]


@pytest.mark.parametrize("order", [("www", "logs"), ("logs", "www")])
async def test_no_volume_is_adopted_while_the_disk_of_one_is_unavailable(order: tuple[str, str]) -> None:
    """The order does not matter; each claim has an Event with the reason."""
    api = _api(
        *((CLAIM, _claim(each)) for each in KEYS), (VOLUME, _volume("www")), (VOLUME, _volume("logs", pool=UNAVAILABLE))
    )
    await _reconcile(api, *order)
    assert {"pv-www": "www-old", "pv-logs": "logs-old"} == _named(api)
    assert {"FormerVolumeBlocked"} == {reason for _, reason, _ in api.events}


async def test_the_second_volume_is_adopted_after_a_restart_in_between() -> None:
    """The volume that the first claim adopted counts as the claim's volume."""
    api = _api(*((CLAIM, _claim(each)) for each in KEYS), *((VOLUME, _volume(each)) for each in KEYS))
    await _reconcile(api, "www")
    await _reconcile(api, "logs")
    assert {"pv-www": "www-new", "pv-logs": "logs-new"} == _named(api)


async def test_the_first_adoption_is_reverted_when_the_second_is_impossible() -> None:
    """The controller stopped in between, and the other disk became unavailable; no claim is bound yet."""
    adopted = _volume("www")
    owners = [Owner("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in ("www-old", "www-new")]
    adopted["metadata"]["annotations"][HISTORY] = history.write(owners)
    adopted["spec"]["claimRef"]["uid"] = "www-new"
    api = _api(
        *((CLAIM, _claim(each)) for each in KEYS), (VOLUME, adopted), (VOLUME, _volume("logs", pool=UNAVAILABLE))
    )
    await _reconcile(api, "www", "logs", "www")
    assert {"pv-www": "www-old", "pv-logs": "logs-old"} == _named(api)


@pytest.mark.parametrize(("age", "events"), [(0, 0), (60, 1)])
async def test_a_claim_that_the_set_is_about_to_create_causes_no_event(age: int, events: int) -> None:
    """A StatefulSet creates the claims of a pod one after the other; only a claim that stays missing is reported."""
    api = _api((CLAIM, _claim("www", age=age)), (VOLUME, _volume("www")))
    await _reconcile(api, "www")
    assert {"pv-www": "www-old"} == _named(api)
    assert events == len(api.events)


@pytest.mark.parametrize(("kind", "changed"), [(CLAIM, _claim("logs")), (VOLUME, _volume("logs"))])
def test_a_claim_or_its_volume_triggers_the_claims_of_the_same_pod(kind: Kind, changed: Json) -> None:
    """They wait for each other."""
    api = _api()
    triggered = Claims(api, api.caches, api.recorder, drivers=FakeDriver()).watches()[kind](changed)
    assert set(KEYS.values()) == set(triggered)


def _pod() -> Json:
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-web-0"}} for name in KEYS]
    return {"metadata": {"name": "p", "namespace": "default", "uid": "p"}, "spec": {"volumes": volumes}}


def test_a_pod_without_a_set_makes_its_claims_siblings() -> None:
    """It triggers them when it is created, and then each of them triggers the others."""
    api = _api(*((CLAIM, _claim(each)) for each in KEYS), (POD, cached_fields(_pod())))
    api.put(STATEFUL_SET, stateful_set("other"))
    watches = Claims(api, api.caches, api.recorder, drivers=FakeDriver()).watches()
    assert set(KEYS.values()) == set(watches[POD](_pod())) == set(watches[CLAIM](_claim("logs")))


@pytest.mark.parametrize(
    ("code", "offered"),
    [
        ("former-sibling-missing", ""),
        ("former-sibling", "mooring forget logs-web-0"),
        ("former-on-different-nodes", "mooring forget www-web-0`, or `mooring forget logs-web-0"),
        ("former-policy", "mooring forget www-web-0"),
    ],
)
def test_the_remedy_never_costs_a_usable_volume_where_waiting_suffices(code: str, offered: str) -> None:
    """Where a sibling's volume blocks, the command is for the sibling."""
    message = _remedy(_claim("www"), Decision(Action.WAIT, (Reason(code, "pv", "logs-web-0", "x"),)))
    assert message == (f" (to get a new one, run `{offered}` for namespace default)" if offered else "")


async def test_no_volume_is_provisioned_before_the_namespace_is_known() -> None:
    """Its UID distinguishes a former volume from one of a recreated namespace."""
    api = _api((CLAIM, _claim("www")))
    del api.objects[NAMESPACE.plural, "", "default"]
    result = await Claims(api, api.caches, api.recorder, drivers=FakeDriver()).reconcile(KEYS["www"])
    assert isinstance(result, RequeueAfter)
