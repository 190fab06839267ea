"""The direct reads of the cluster tests send the same requests as kubectl."""

import pytest

from tests.cluster.reading import path_of

READS = {
    "get pv": "/api/v1/persistentvolumes",
    "get pv pvc-1": "/api/v1/persistentvolumes/pvc-1",
    "-n a get pods": "/api/v1/namespaces/a/pods",
    "-n a get pod web-0": "/api/v1/namespaces/a/pods/web-0",
    "get pvc": "/api/v1/namespaces/default/persistentvolumeclaims",
    "-n a get pods -l x=y": "/api/v1/namespaces/a/pods?labelSelector=x%3Dy",
    "-n a get events --field-selector=involvedObject.name=b": (
        "/api/v1/namespaces/a/events?fieldSelector=involvedObject.name%3Db"
    ),
    "get statefulset web": None,
    "get pod a b": None,
    "delete pod a": None,
}


@pytest.mark.parametrize("arguments", READS)
def test_a_read_has_the_path_of_kubectl(arguments: str) -> None:
    """Unknown commands are passed to kubectl."""
    assert path_of(tuple(arguments.split())) == READS[arguments]
