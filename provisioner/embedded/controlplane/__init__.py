"""Controllers that kube-controller-manager and kube-scheduler provide in a cluster: one reconciler per file."""

from provisioner.embedded.controlplane.ephemeral_volumes import EphemeralVolumes
from provisioner.embedded.controlplane.garbage import Garbage
from provisioner.embedded.controlplane.namespaces import Namespaces
from provisioner.embedded.controlplane.protection import Protection
from provisioner.embedded.controlplane.scheduler import Scheduler
from provisioner.embedded.controlplane.stateful_sets import StatefulSets
from provisioner.kube.cache import Caches
from provisioner.kube.control import Controller
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport


def workload_controllers(transport: Transport, caches: Caches, recorder: Recorder) -> list[Controller]:
    """Return all of them, with shared caches."""
    return [
        StatefulSets(transport, caches, recorder),
        EphemeralVolumes(transport, caches, recorder),
        Scheduler(transport, caches, recorder),
        Garbage(transport, caches),
        Protection(transport, caches),
        Namespaces(transport, caches),
    ]
