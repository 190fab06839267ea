"""An API server with the volume of a lost node, and the reconciler of node loss."""

from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.controllers.node_loss import NodeLoss
from provisioner.kube.errors import Forbidden
from provisioner.model.kinds import CLAIM, POD, STATEFUL_SET, STORAGE_CLASS, VOLUME, Json, Kind
from provisioner.model.names import LAST_NODE, LOST_SINCE, RELEASED
from tests.unit.provisioner.controllers.fake_api import FakeApi
from tests.unit.provisioner.controllers.objects import POOL, claim, stateful_set, storage_class, volume

KEY = ("", "pvc-c1")
GRACE = 300
LONG_AGO = "2026-01-01T00:00:00Z"


class Drivers:
    """The drivers that report the pool."""

    def __init__(self, *reporting: str) -> None:
        self._reporting = reporting

    def reporting(self, pool: str) -> Sequence[str]:
        """See DriverRegistry."""
        assert pool == POOL
        return self._reporting


class RefusingApi(FakeApi):
    """An API server that forbids the deletion of objects of some kinds."""

    refuses: tuple[Kind, ...] = ()

    async def delete(self, kind: Kind, name: str, **options: Any) -> None:
        """Refuse the kinds of `refuses`."""
        if kind in self.refuses:
            raise Forbidden(403, "Forbidden", f"{kind.plural} {name!r} is forbidden")
        await super().delete(kind, name, **options)


def api_with_claim(
    *objects: tuple[Kind, Json], release: bool = True, notes: Mapping[str, str] | None = None
) -> RefusingApi:
    """Return an API server with a bound claim, whose volume has the annotations `notes`."""
    noted = volume()
    noted["metadata"]["annotations"] |= notes or {}
    parameters = {"onNodeLoss": "Release"} if release else {}
    return RefusingApi(
        (VOLUME, noted),
        (CLAIM, claim(phase="Bound", volumeName="pvc-c1")),
        (STORAGE_CLASS, storage_class(**parameters)),
        (STATEFUL_SET, stateful_set()),
        *objects,
    )


def api_with_loss(*objects: tuple[Kind, Json]) -> RefusingApi:
    """Return an API server whose volume has been lost for a long time."""
    return api_with_claim(*objects, notes={LAST_NODE: "n/node1", LOST_SINCE: LONG_AGO})


def pod(name: str = "web-0", *, on: str = "", owner: str = "StatefulSet") -> tuple[Kind, Json]:
    """Return a pod of the set that mounts the claim."""
    spec: Json = {"volumes": [{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-0"}}]}
    if on:
        spec["nodeName"] = on
    owners = [{"kind": owner, "name": "web", "uid": "s1", "controller": True}]
    return POD, {"metadata": {"name": name, "namespace": "default", "ownerReferences": owners}, "spec": spec}


def reconciler(api: FakeApi, *reporting: str) -> NodeLoss:
    """Return the reconciler; the drivers of the nodes `reporting` report the pool."""
    return NodeLoss(api, api.caches, api.recorder, drivers=Drivers(*reporting), grace=GRACE)


def annotations(api: FakeApi) -> dict[str, str]:
    """Return the annotations of the volume that node loss uses."""
    found = api.all(VOLUME)[0]["metadata"]["annotations"]
    return {key: found[key] for key in (LAST_NODE, LOST_SINCE, RELEASED) if key in found}
