"""What Kubernetes brings along in a cluster and the embedded engine has to bring itself: one reconciler a file."""

from provisioner.embedded.workload.ephemeral_volumes import EphemeralVolumes
from provisioner.embedded.workload.garbage import Garbage
from provisioner.embedded.workload.namespaces import Namespaces
from provisioner.embedded.workload.protection import Protection
from provisioner.embedded.workload.scheduler import Scheduler
from provisioner.embedded.workload.stateful_sets import StatefulSets
from provisioner.kube.cache import Caches
from provisioner.kube.control import Controller
from provisioner.kube.events import Recorder
from provisioner.kube.transport import Transport


def workload_controllers(transport: Transport, caches: Caches, recorder: Recorder) -> list[Controller]:
    """All of them, on shared caches."""
    return [
        StatefulSets(transport, caches, recorder),
        EphemeralVolumes(transport, caches, recorder),
        Scheduler(transport, caches, recorder),
        Garbage(transport, caches),
        Protection(transport, caches),
        Namespaces(transport, caches),
    ]
