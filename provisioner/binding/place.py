"""Which pool a new volume goes to when no scheduler has chosen a node."""

from collections.abc import Iterable

from provisioner.binding.decision import Reason
from provisioner.model.inventory import Pool
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import ClassParameters


def place(request: Quantity, *, parameters: ClassParameters, pools: Iterable[Pool]) -> Pool | Reason:
    """
    The pool with the most room left afterwards, ties by name; or the reason why there is none.

    The most room, not the tightest fit: local volumes grow, and a full disk fails all volumes on it at once.
    """
    usable = [
        pool
        for pool in pools
        if not pool.problem
        and parameters.backend in pool.backends
        and (not parameters.pool or parameters.pool == pool.name)
    ]
    fitting = [pool for pool in usable if pool.available_bytes >= request.ceil_bytes]
    if not fitting:
        most = max((pool.available_bytes for pool in usable), default=0)
        return Reason("pool-full", wanted=str(request), had=str(Quantity.of_bytes(most)))
    return min(fitting, key=lambda pool: (-pool.available_bytes, pool.node, pool.name))
