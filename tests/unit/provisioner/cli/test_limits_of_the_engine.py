"""Entries of docs/limits.md about the engine's API, each shown."""

import json
from pathlib import Path

import pytest

from provisioner.cli.client import Client, StatusError
from provisioner.cli.kubeconfig import Source, read
from provisioner.model.kinds import POD, SERVICE, Json
from tests.unit.provisioner.cli.conftest import Mooring

CONTAINER: Json = {"name": "c", "image": "i"}


@pytest.fixture
def client(state: Path) -> Client:
    """Straight to the server."""
    return Client(read(Source((state / "kubeconfig",))))


@pytest.mark.limit("api-kinds")
def test_kinds_that_storage_does_not_need_are_not_there(client: Client, mooring: Mooring, tmp_path: Path) -> None:
    """404 from the server, and a list of kinds from the command."""
    with pytest.raises(StatusError) as refused:
        client.call("GET", "/api/v1/secrets")
    file = tmp_path / "secret.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}), encoding="utf-8")

    assert refused.value.status == 404
    assert "those are" in mooring("apply", "-f", str(file)).err


@pytest.mark.limit("api-validation")
def test_a_value_that_is_no_matter_of_storage_is_not_checked(client: Client) -> None:
    """A protocol that does not exist passes; a field that does not exist does not."""
    metadata = {"name": "p", "namespace": "default"}
    port = {"containerPort": 70000, "protocol": "PIGEON"}
    pod = {"metadata": metadata, "spec": {"containers": [{**CONTAINER, "ports": [port]}]}}
    strict = {"fieldValidation": "Strict"}
    wrong = {"metadata": metadata, "spec": {"containers": [CONTAINER], "restart": "no"}}
    with pytest.raises(StatusError, match="restart"):
        client.call("POST", POD.path("default"), body=wrong, query=strict)

    made = client.call("POST", POD.path("default"), body=pod, query=strict)

    assert made["spec"]["containers"][0]["ports"][0]["protocol"] == "PIGEON"


@pytest.mark.limit("api-defaults")
def test_what_no_one_here_acts_on_is_not_filled_in(client: Client) -> None:
    """A pod is stored without what a cluster's scheduler and kubelet would need."""
    pod = {"metadata": {"name": "bare", "namespace": "default"}, "spec": {"containers": [CONTAINER]}}

    made = client.call("POST", POD.path("default"), body=pod)

    assert {"priority", "tolerations"}.isdisjoint(made["spec"])
    assert "qosClass" not in made["status"]


@pytest.mark.limit("service-addresses")
def test_a_service_gets_no_address(client: Client) -> None:
    """Nothing is invented for it."""
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}

    assert not client.call("POST", SERVICE.path("default"), body=service)["spec"].get("clusterIP")
