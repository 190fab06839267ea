"""Tables: ages, and the cells of each kind."""

from types import NoneType
from typing import Any

import pytest

from provisioner.embedded.apiserver.http.age import age, human
from provisioner.embedded.apiserver.http.columns import COLUMNS
from provisioner.embedded.apiserver.http.tables import Include, table
from provisioner.model import kinds
from provisioner.model.kinds import KINDS, Kind

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (9 * MINUTE + 59, "9m59s"),
        (10 * MINUTE + 30, "10m"),
        (2 * HOUR, "120m"),
        (3 * HOUR + 5 * MINUTE, "3h5m"),
        (8 * HOUR + 5 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (48 * HOUR, "2d"),
        (2 * DAY + 3 * HOUR, "2d3h"),
        (8 * DAY + 3 * HOUR, "8d"),
        (729 * DAY, "729d"),
        (730 * DAY, "2y"),
        (800 * DAY, "2y70d"),
        (3000 * DAY, "8y"),
    ],
)
def test_longer_ages_have_coarser_units(seconds: float, expected: str) -> None:
    """An age has the units that kubectl prints."""
    assert human(seconds) == expected


def test_an_age_without_a_timestamp_is_unknown() -> None:
    """An object without a timestamp has an unknown age."""
    assert age(None) == "<unknown>"


def _cells(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    obj.setdefault("metadata", {}).setdefault("name", "x")
    found = table(kind, [obj], "1", Include.NONE)
    names = [column["name"] for column in found["columnDefinitions"]]
    return dict(zip(names, found["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_kind_has_a_row_for_an_empty_object(kind: Kind) -> None:
    """An empty object has a row, and its cells have their columns' types; upstream declares two columns wrongly."""
    types: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "integer": int,
        "boolean": bool,
        "date": (str, NoneType),
    }
    columns_misnamed_upstream = {"Count": int, "AllowVolumeExpansion": bool}
    cells = _cells(kind, {})
    for column in COLUMNS[kind]:
        expected = columns_misnamed_upstream.get(column.name, types[column.type])
        assert isinstance(cells[column.name], expected), column.name


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        (
            kinds.CLAIM,
            {
                "spec": {"volumeName": "pv-1", "storageClassName": "fast"},
                "status": {
                    "phase": "Bound",
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                },
            },
            {"Status": "Bound", "Volume": "pv-1", "Capacity": "1Gi", "Access Modes": "RWO,RWX", "StorageClass": "fast"},
        ),
        (
            kinds.CLAIM,
            {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Bound"}},
            {"Status": "Terminating", "Capacity": "", "VolumeAttributesClass": "<unset>"},
        ),
        (
            kinds.VOLUME,
            {"spec": {"claimRef": {"namespace": "ns", "name": "c"}, "accessModes": ["ReadWriteOncePod"]}},
            {"Claim": "ns/c", "Access Modes": "RWOP"},
        ),
        (
            kinds.POD,
            {
                "spec": {"containers": [{}, {}], "nodeName": "n"},
                "status": {
                    "phase": "Running",
                    "containerStatuses": [
                        {"ready": True, "restartCount": 2},
                        {"state": {"waiting": {"reason": "Slow"}}},
                    ],
                },
            },
            {"Ready": "1/2", "Status": "Slow", "Restarts": "2", "Node": "n"},
        ),
        (kinds.STATEFUL_SET, {"spec": {"replicas": 3}, "status": {"readyReplicas": 1}}, {"Ready": "1/3"}),
        (
            kinds.STORAGE_CLASS,
            {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}},
            {"Name": "x (default)"},
        ),
        (
            kinds.SERVICE,
            {"spec": {"clusterIP": "None", "ports": [{"port": 80}]}},
            {"Cluster-IP": "None", "Port(s)": "80/TCP"},
        ),
        (
            kinds.NODE,
            {"spec": {"unschedulable": True}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"Status": "Ready,SchedulingDisabled", "Roles": "<none>"},
        ),
        (kinds.EVENT, {"involvedObject": {"kind": "Pod", "name": "web-0"}}, {"Object": "pod/web-0"}),
    ],
)
def test_cells_are_those_of_kubectl(kind: Kind, obj: dict[str, Any], expected: dict[str, Any]) -> None:
    """Cells that combine several fields have the same text as in kubectl."""
    assert _cells(kind, obj).items() >= expected.items()
