"""Tests of the entries of docs/limits.md about the engine's API."""

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
    """Return a client of the server."""
    return Client(read(Source((state / "kubeconfig",))))


@pytest.mark.limit("api-kinds")
def test_kinds_that_storage_does_not_need_are_not_served(client: Client, mooring: Mooring, tmp_path: Path) -> None:
    """The server answers 404, and the command lists the kinds."""
    with pytest.raises(StatusError) as refused:
        client.call("GET", "/api/v1/secrets")
    file = tmp_path / "secret.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}), encoding="utf-8")

    assert refused.value.status == 404
    assert "the kinds are" in mooring("apply", "-f", str(file)).err


@pytest.mark.limit("api-validation")
def test_values_without_relation_to_storage_are_not_validated(client: Client) -> None:
    """An unknown protocol is accepted; an unknown field is refused."""
    metadata = {"name": "p", "namespace": "default"}
    port = {"containerPort": 70000, "protocol": "PIGEON"}
    pod = {"metadata": metadata, "spec": {"containers": [{**CONTAINER, "ports": [port]}]}}
    strict = {"fieldValidation": "Strict"}
    wrong = {"metadata": metadata, "spec": {"containers": [CONTAINER], "restart": "no"}}
    with pytest.raises(StatusError, match="restart"):
        client.call("POST", POD.path("default"), body=wrong, query=strict)

    created = client.call("POST", POD.path("default"), body=pod, query=strict)

    assert created["spec"]["containers"][0]["ports"][0]["protocol"] == "PIGEON"


@pytest.mark.limit("api-defaults")
def test_fields_that_no_component_uses_get_no_default(client: Client) -> None:
    """A pod is stored without the fields for a cluster's scheduler and kubelet."""
    pod = {"metadata": {"name": "bare", "namespace": "default"}, "spec": {"containers": [CONTAINER]}}

    created = client.call("POST", POD.path("default"), body=pod)

    assert {"priority", "tolerations"}.isdisjoint(created["spec"])
    assert "qosClass" not in created["status"]


@pytest.mark.limit("service-addresses")
def test_a_service_gets_no_address(client: Client) -> None:
    """The field clusterIP of a Service stays empty."""
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}

    assert not client.call("POST", SERVICE.path("default"), body=service)["spec"].get("clusterIP")
