"""The index of all volumes, updated by events, so that no decision has to read all of them."""

import structlog

from provisioner.binding.matching.index import Index
from provisioner.kube.cache import Caches, NamespacedName, namespaced_name
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import VOLUME, Json
from provisioner.model.volume import Volume

log = structlog.get_logger()


def volumes_in(caches: Caches) -> Index:
    """Return the index of the volumes, which follows the caches."""
    return caches[VOLUME].follow(VolumeIndex).index


class VolumeIndex:
    """Follows the cache of PersistentVolumes. An invalid one is left out and logged."""

    def __init__(self) -> None:
        self.index = Index()

    def put(self, obj: Json) -> None:
        """Add or update a volume."""
        try:
            self.index.put(Volume.of(obj))
        except InvalidObjectError as error:
            self.index.drop(namespaced_name(obj)[1])
            log.warning("object.unreadable", error=str(error))

    def remove(self, key: NamespacedName) -> None:
        """Remove a deleted volume."""
        self.index.drop(key[1])
