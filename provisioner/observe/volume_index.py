"""All volumes as decisions want them: an index that every event changes, so that none reads a thousand objects anew."""

import structlog

from provisioner.binding.matching.index import Index
from provisioner.kube.cache import Caches, Place, place_of
from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import VOLUME, Json
from provisioner.model.volume import Volume

log = structlog.get_logger()


def volumes_in(caches: Caches) -> Index:
    """The index of the volumes in the caches; it goes on following them."""
    return caches[VOLUME].follow(VolumeIndex).index


class VolumeIndex:
    """Follows the cache of PersistentVolumes. One that cannot be understood is left out, and told of."""

    def __init__(self) -> None:
        self.index = Index()

    def put(self, obj: Json) -> None:
        """It is new, or changed."""
        try:
            self.index.put(Volume.of(obj))
        except InvalidObject as error:
            self.index.drop(place_of(obj)[1])
            log.warning("object.unreadable", problem=str(error))

    def remove(self, place: Place) -> None:
        """It is gone."""
        self.index.drop(place[1])
