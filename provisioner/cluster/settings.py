"""What `mooring controller` was told."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """
    `kubeconfig` None means: as the pod's ServiceAccount. `http_host` "" means: no health endpoint.

    `template_bytes`: free capacity of the pool that a new node of cluster-autoscaler is expected to have; 0 for none.
    `node_loss_grace`: seconds that a Node is gone before claims of classes that say `onNodeLoss: Release` are let go.
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
