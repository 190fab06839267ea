"""The settings of `mooring controller`, from its flags."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """
    Settings of one replica. `kubeconfig` None: the pod's ServiceAccount. `http_host` "": no health endpoint.

    `template_bytes`: free capacity of the pool that a new node of cluster-autoscaler is expected to have; 0 for none.
    `node_loss_grace`: seconds after a Node is gone before claims of classes with `onNodeLoss: Release` are deleted.
    """

    namespace: str
    driver_service: str
    identity: str
    kubeconfig: Path | None
    http_host: str
    http_port: int
    node_loss_grace: float
    template_bytes: int
    log_format: str
