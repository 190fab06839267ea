"""
An index of all volumes, updated by events, that matches a claim by upstream's rules.

Free volumes are indexed by class, volume mode, attributes class and access modes, and within that by the nodes that
reach them, each list sorted by capacity and name. Volumes that name a claim are indexed by that claim. So the smallest
sufficient volume is found by bisection, and volumes that cannot match are never read: bound ones, those of other
classes, those of pools that the node does not have. A selector reads those with its labels. The checks of one volume,
and their sources, are in `match`.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

from provisioner.binding.matching.bucket import Bucket
from provisioner.binding.matching.label_index import Entry
from provisioner.binding.matching.match import MODES, fails
from provisioner.model.claim import Claim
from provisioner.model.names import DRIVER
from provisioner.model.node import Node
from provisioner.model.quantity import Quantity
from provisioner.model.selector import LabelSelector
from provisioner.model.volume import Volume

Kind = tuple[str, str, str]
"""Class, volume mode, attributes class."""
Test = Callable[[Volume], bool]
KNOWN = frozenset(MODES)


class Index:
    """
    Volumes by name, put and dropped one at a time.

    Where upstream's result depends on the order of a map, this one is the first by name.
    """

    def __init__(self, volumes: Iterable[Volume] = ()) -> None:
        self._volumes: dict[str, Volume] = {}
        self._handles: dict[str, int] = {}
        self._buckets: dict[Kind, dict[frozenset[str], Bucket]] = {}
        self._named: dict[tuple[str, str], dict[str, Volume]] = {}
        for volume in volumes:
            self.put(volume)

    def __len__(self) -> int:
        return len(self._volumes)

    def __iter__(self) -> Iterator[Volume]:
        return iter(self._volumes.values())

    def get(self, name: str) -> Volume | None:
        """Return the volume of that name."""
        return self._volumes.get(name)

    def naming(self, namespace: str, claim: str) -> list[Volume]:
        """Return the volumes whose claimRef has that name, with any UID, sorted by name."""
        named = self._named.get((namespace, claim))
        return [named[name] for name in sorted(named)] if named else []

    def has_handle(self, handle: str) -> bool:
        """Report whether a volume of Mooring's driver has that handle."""
        return handle in self._handles

    def put(self, volume: Volume) -> None:
        """Add or update a volume."""
        self.drop(volume.name)
        self._volumes[volume.name] = volume
        if volume.driver == DRIVER:
            self._handles[volume.handle] = self._handles.get(volume.handle, 0) + 1
        if volume.claim_ref is not None:
            self._named.setdefault((volume.claim_ref.namespace, volume.claim_ref.name), {})[volume.name] = volume
        elif _is_free(volume):
            modes = frozenset(volume.modes)
            buckets = self._buckets.setdefault(_kind(volume), {})
            bucket = buckets.get(modes)
            if bucket is None:
                bucket = buckets[modes] = Bucket(modes)
            bucket.put(_entry(volume), volume.node_affinity)

    def drop(self, name: str) -> None:
        """Remove a volume, if it is in the index."""
        volume = self._volumes.pop(name, None)
        if volume is None:
            return
        if volume.driver == DRIVER:
            self._handles[volume.handle] -= 1
            if not self._handles[volume.handle]:
                del self._handles[volume.handle]
        if volume.claim_ref is not None:
            key = (volume.claim_ref.namespace, volume.claim_ref.name)
            del self._named[key][name]
            if not self._named[key]:
                del self._named[key]
        elif _is_free(volume):
            buckets = self._buckets[_kind(volume)]
            bucket = buckets[frozenset(volume.modes)]
            bucket.drop(_entry(volume), volume.node_affinity)
            if not bucket.all:
                del buckets[bucket.modes]
                if not buckets:
                    del self._buckets[_kind(volume)]

    def match(
        self, claim: Claim, *, node: Node | None = None, excluded: frozenset[str] = frozenset(), delay: bool = False
    ) -> Volume | None:
        """
        Return the volume that the scheduler would choose, or None.

        `delay` means that its class has WaitForFirstConsumer. A volume reserved for the claim is preferred to all
        others; among the rest the smallest sufficient one. With a `node`, only volumes that the node reaches: a
        reserved one that it does not reach means None. Source: k8s.io/component-helpers, storage/volume,
        FindMatchingVolume.
        """
        for volume in self.naming(claim.namespace, claim.name):
            failed = fails(claim, volume, node=node, excluded=excluded, delay_binding=delay)
            if volume.belongs_to(claim) and failed in {"", "affinity"}:
                return volume if node is None or volume.reaches(node.labels) else None
        if node is None and delay:
            return None
        requested = frozenset(claim.modes) if node is not None else frozenset()
        buckets = [bucket for modes, bucket in self._buckets.get(_kind(claim), {}).items() if requested <= modes]
        return _smallest(claim, buckets, node=node, excluded=excluded)

    def match_claim(self, claim: Claim, *, delay: bool = False) -> Volume | None:
        """
        Return the volume that the persistentvolume controller would choose, by buckets of access modes.

        Buckets with fewer modes come first, so a larger volume with just the requested mode is preferred to a smaller
        one with more modes, and even to a reserved one. Source: kubernetes, pkg/controller/volume/persistentvolume,
        index.go (findBestMatchForClaim).
        """
        return next((volume for _, volume in self.buckets(claim, delay=delay)), None)

    def buckets(self, claim: Claim, *, delay: bool = False) -> Iterator[tuple[frozenset[str], Volume]]:
        """Yield the volume of each bucket of access modes that fits the claim; the first one is chosen."""
        requested = frozenset(claim.modes)
        buckets: dict[frozenset[str], list[Bucket]] = {}
        for modes, bucket in self._buckets.get(_kind(claim), {}).items() if not delay else ():
            if requested <= (known := modes & KNOWN):
                buckets.setdefault(known, []).append(bucket)
        reserved: dict[frozenset[str], Volume] = {}
        for volume in self.naming(claim.namespace, claim.name):
            if requested <= (known := bucket_key(volume)) and known not in reserved and _is_reserved(volume, claim):
                reserved[known] = volume
        for known in _in_upstreams_order({*buckets, *reserved}):
            found = reserved.get(known) or _smallest(claim, buckets[known], node=None, excluded=frozenset())
            if found is not None:
                yield known, found


def bucket_key(volume: Volume) -> frozenset[str]:
    """Return the access modes that are the key in upstream's index: unknown modes are omitted."""
    return frozenset(volume.modes) & KNOWN


def _in_upstreams_order(keys: set[frozenset[str]]) -> Iterable[frozenset[str]]:
    """Return the keys with fewer modes first; mostly there is only one."""
    if len(keys) < 2:
        return keys
    return sorted(keys, key=lambda modes: (len(modes), sorted(map(MODES.index, modes))))


def _is_reserved(volume: Volume, claim: Claim) -> bool:
    """Report whether the volume names the claim and can be bound to it."""
    return volume.belongs_to(claim) and not fails(claim, volume, node=None, excluded=frozenset(), delay_binding=False)


def _smallest(claim: Claim, buckets: Iterable[Bucket], *, node: Node | None, excluded: frozenset[str]) -> Volume | None:
    """Return the first by capacity and name that matches the claim's selector and that the node reaches."""
    least = (_number(claim.request), "")
    best: Entry | None = None
    for bucket in buckets:
        lists = [bucket.all] if node is None else list(bucket.reached_by(node))
        tests: list[Test] = []
        if claim.selector is not None and claim.selector.requirements:
            tests.append(_selected(claim.selector))
            few = bucket.labels.candidates(claim.selector)
            if few is not None and sum(map(len, few)) < sum(map(len, lists)):
                lists = few
                if node is not None:
                    tests.append(_reached(node))
        for entries in lists:
            best = _first(entries, bisect_left(entries, least), tests, excluded, best)
    return best[2] if best else None


def _first(
    entries: list[Entry], start: int, tests: list[Test], excluded: frozenset[str], best: Entry | None
) -> Entry | None:
    """Return the first from `start` on that passes all tests, or `best` where that is before it."""
    if not tests and not excluded:
        found = entries[start] if start < len(entries) else None
        return found if found is not None and (best is None or found < best) else best
    for at in range(start, len(entries)):
        entry = entries[at]
        if best is not None and entry > best:
            return best
        if entry[1] not in excluded and all(test(entry[2]) for test in tests):
            return entry
    return best


def _selected(selector: LabelSelector) -> Test:
    """Return the selector as one callable; labels that have to be equal are compared together."""
    requirements = selector.requirements
    equal = {each.key: each.values[0] for each in requirements if each.operator == "In" and len(each.values) == 1}
    if len(equal) == len(requirements):
        items = equal.items()
        return lambda volume: items <= volume.labels.items()
    return lambda volume: selector.matches(volume.labels)


def _reached(node: Node) -> Test:
    return lambda volume: volume.reaches(node.labels)


def _is_free(volume: Volume) -> bool:
    return volume.phase == "Available" and not volume.deleting


def _kind(has: Volume | Claim) -> Kind:
    return has.class_name, has.volume_mode, has.attributes_class


def _entry(volume: Volume) -> Entry:
    return _number(volume.capacity), volume.name, volume


def _number(quantity: Quantity) -> int | Fraction:
    """Return an int where the value is one, since ints compare many times faster than fractions."""
    value = quantity.value
    return value.numerator if value.denominator == 1 else value
