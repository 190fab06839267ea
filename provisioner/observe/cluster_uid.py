"""The identity of the cluster, from the caches."""

from provisioner.kube.cache import Caches
from provisioner.model.kinds import NAMESPACE

CLUSTER_NAMESPACE = "kube-system"
"""The namespace whose UID identifies the cluster, by convention."""


def cluster_uid(caches: Caches) -> str:
    """Return the UID of the cluster; "" while it is unknown."""
    namespace = caches[NAMESPACE].get(CLUSTER_NAMESPACE)
    return str(namespace["metadata"]["uid"]) if namespace else ""
