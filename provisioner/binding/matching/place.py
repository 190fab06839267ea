"""Choose the node of a new volume, by its pool, when no scheduler has selected one; the driver chooses the pool."""

from collections.abc import Iterable, Sequence

from provisioner.binding.decision import Reason
from provisioner.model.inventory import Pool
from provisioner.model.quantity import Quantity
from provisioner.model.storage_class import ClassParameters


def place(request: Quantity, *, parameters: ClassParameters, pools: Iterable[Pool]) -> Pool | Reason:
    """
    Return the pool with the most free capacity, ties by name; or the reason why there is none.

    The largest and not the tightest fit is chosen, because local volumes are expanded, and a full disk fails all its
    volumes at once. The reason names the first condition that no pool meets: name, usable, backend, free capacity.
    """
    pools = tuple(pools)
    named = [pool for pool in pools if not parameters.pool or parameters.pool == pool.name]
    healthy = [pool for pool in named if not pool.problem]
    usable = [pool for pool in healthy if parameters.backend in pool.backends]
    fitting = [pool for pool in usable if pool.available_bytes >= request.ceil_bytes]
    if fitting:
        return min(fitting, key=lambda pool: (-pool.available_bytes, pool.node, pool.name))
    if not pools:
        return Reason("pool-none")
    if not named:
        return Reason("pool-unknown", requested=parameters.pool, actual=_list(pool.name for pool in pools))
    if not healthy:
        return Reason("pool-unusable", actual=_list(f"{pool.name} on {pool.node}: {pool.problem}" for pool in named))
    if not usable:
        backends = _list(each for pool in healthy for each in pool.backends)
        return Reason("pool-backend", requested=parameters.backend, actual=backends)
    most = max(pool.available_bytes for pool in usable)
    return Reason("pool-full", requested=request.readable(up=True), actual=Quantity.of_bytes(most).readable())


MOST_LISTED = 5


def _list(found: Iterable[str]) -> str:
    """Return a few of the values, each once: a cluster has many nodes."""
    each: Sequence[str] = sorted(set(found))
    more = len(each) - MOST_LISTED
    return ", ".join(each[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
