"""Former volumes of one pod's claims, given back together by the controller."""

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
from provisioner.model.pod import kept
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.fake_driver import FakeDriver
from tests.unit.provisioner.controllers.objects import POOL, claim, namespace, node, stateful_set, storage_class, volume

KEYS = {"www": ("default", "www-web-0"), "logs": ("default", "logs-web-0")}
AWAY = "8f9f6a52-5d53-4d3f-8ac5-70f3ad2c4a22"


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
    """Volume → the UID of the claim that it names."""
    return {each["metadata"]["name"]: each["spec"]["claimRef"]["uid"] for each in api.all(VOLUME)}


async def test_both_come_back() -> None:
    """Each by its own patch, and with an Event."""
    api = _api(*((CLAIM, _claim(each)) for each in KEYS), *((VOLUME, _volume(each)) for each in KEYS))
    await _reconcile(api, "www", "logs")
    assert {"pv-www": "www-new", "pv-logs": "logs-new"} == _named(api)
    assert ["VolumeAdopted", "VolumeAdopted"] == [reason for _, reason, _ in api.events]


@pytest.mark.parametrize("order", [("www", "logs"), ("logs", "www")])
async def test_neither_comes_back_while_the_disk_of_one_is_away(order: tuple[str, str]) -> None:
    """Whichever is looked at first; and each says what it waits for."""
    api = _api(
        *((CLAIM, _claim(each)) for each in KEYS), (VOLUME, _volume("www")), (VOLUME, _volume("logs", pool=AWAY))
    )
    await _reconcile(api, *order)
    assert {"pv-www": "www-old", "pv-logs": "logs-old"} == _named(api)
    assert {"FormerVolumeBlocked"} == {reason for _, reason, _ in api.events}


async def test_the_second_follows_after_the_controller_ended_in_between() -> None:
    """What the first was given counts as its own."""
    api = _api(*((CLAIM, _claim(each)) for each in KEYS), *((VOLUME, _volume(each)) for each in KEYS))
    await _reconcile(api, "www")
    await _reconcile(api, "logs")
    assert {"pv-www": "www-new", "pv-logs": "logs-new"} == _named(api)


async def test_the_first_is_taken_back_when_the_second_cannot_follow() -> None:
    """The controller ended in between, and the other's disk went meanwhile; nothing is bound yet."""
    given = _volume("www")
    told = [Owner("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in ("www-old", "www-new")]
    given["metadata"]["annotations"][HISTORY] = history.write(told)
    given["spec"]["claimRef"]["uid"] = "www-new"
    api = _api(*((CLAIM, _claim(each)) for each in KEYS), (VOLUME, given), (VOLUME, _volume("logs", pool=AWAY)))
    await _reconcile(api, "www", "logs", "www")
    assert {"pv-www": "www-old", "pv-logs": "logs-old"} == _named(api)


@pytest.mark.parametrize(("age", "events"), [(0, 0), (60, 1)])
async def test_a_claim_that_the_set_is_about_to_make_is_worth_no_event(age: int, events: int) -> None:
    """A StatefulSet makes the claims of a pod one after the other; only one that does not come is told of."""
    api = _api((CLAIM, _claim("www", age=age)), (VOLUME, _volume("www")))
    await _reconcile(api, "www")
    assert {"pv-www": "www-old"} == _named(api)
    assert events == len(api.events)


@pytest.mark.parametrize(("kind", "changed"), [(CLAIM, _claim("logs")), (VOLUME, _volume("logs"))])
def test_a_claim_or_its_volume_wakes_the_claims_of_the_same_pod(kind: Kind, changed: Json) -> None:
    """They have waited for it."""
    api = _api()
    woken = Claims(api, api.caches, api.recorder, drivers=FakeDriver()).watches()[kind](changed)
    assert set(KEYS.values()) == set(woken)


def _pod() -> Json:
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-web-0"}} for name in KEYS]
    return {"metadata": {"name": "p", "namespace": "default", "uid": "p"}, "spec": {"volumes": volumes}}


def test_a_pod_tells_which_claims_belong_together_where_no_set_does() -> None:
    """It wakes them when it comes, and then each of them the others."""
    api = _api(*((CLAIM, _claim(each)) for each in KEYS), (POD, kept(_pod())))
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
def test_the_way_out_never_costs_a_good_volume_where_waiting_is_enough(code: str, offered: str) -> None:
    """What blocks is the sibling's volume, so that it is the sibling that may get a new one."""
    said = _remedy(_claim("www"), Decision(Action.WAIT, (Reason(code, "pv", "logs-web-0", "x"),)))
    assert said == (f" (`{offered}`, in namespace default, has one made)" if offered else "")


async def test_no_new_volume_is_asked_for_before_the_namespace_is_known() -> None:
    """Its UID is what tells a former volume from a stranger's."""
    api = _api((CLAIM, _claim("www")))
    del api.objects[NAMESPACE.plural, "", "default"]
    result = await Claims(api, api.caches, api.recorder, drivers=FakeDriver()).reconcile(KEYS["www"])
    assert isinstance(result, RequeueAfter)
