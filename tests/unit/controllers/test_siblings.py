"""Former volumes of one pod's claims, given back together by the controller."""

import datetime as dt

import pytest

from provisioner.controllers.claims import Claims
from provisioner.model import history
from provisioner.model.history import Held
from provisioner.model.kinds import CLAIM, NAMESPACE, NODE, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import HISTORY
from tests.unit.controllers.fake_api import FakeApi
from tests.unit.controllers.fake_driver import FakeDriver
from tests.unit.controllers.objects import POOL, claim, namespace, node, stateful_set, storage_class, volume

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
        await Claims(api, api.caches, api.recorder, router=FakeDriver()).reconcile(KEYS[template])


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
    told = [Held("default", "www-web-0", uid, "web", "0", "2026-01-01T00:00:00Z") for uid in ("www-old", "www-new")]
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


def test_a_claim_wakes_those_of_the_same_pod() -> None:
    """They have waited for it."""
    api = _api()
    woken = Claims(api, api.caches, api.recorder, router=FakeDriver()).watches()[CLAIM](_claim("logs"))
    assert set(KEYS.values()) == set(woken)
