"""
Leader election on a Lease, by client-go's rules: one replica acts, and another takes over when it ends.

A candidate counts the duration of a Lease from when it last observed a change of it, never by its timestamps: clocks of
two machines need not agree. A leader that cannot renew in time stops before another replica may acquire the Lease.

One rule is stricter than client-go's: the leader of a deleted Lease may not have observed the deletion yet, so other
candidates wait for the whole duration before they create it again. A replica that never observed a Lease creates it at
once. Source: client-go, tools/leaderelection.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from provisioner.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from provisioner.kube.transport import Transport
from provisioner.model.kinds import LEASE, Json

log = structlog.get_logger()

DURATION_SECONDS = 15.0
"""How long after the last observed change of the Lease another replica acquires it."""
RENEW_DEADLINE_SECONDS = 10.0
"""How long a leader tries to renew before it gives up."""
RETRY_SECONDS = 2.0
RELEASE_SECONDS = 2.0

DELETED: Final[Json] = {"spec": {"holderIdentity": ""}}
"""The state that a candidate stores for a Lease that was deleted."""


class Lease:
    """
    One candidate. `clock` is monotonic, in seconds.

    `acquire` returns once this candidate holds the Lease, `renew_until_lost` once it no longer does; `release` lets
    another replica acquire it at once.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration_seconds: float = DURATION_SECONDS,
        renew_deadline_seconds: float = RENEW_DEADLINE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not duration_seconds > renew_deadline_seconds > retry_seconds:
            raise ValueError("a Lease's duration is longer than its renew deadline, and that than a retry")
        self._transport = transport
        self._namespace, self._name, self._identity = namespace, name, identity
        self._duration, self._deadline, self._retry = duration_seconds, renew_deadline_seconds, retry_seconds
        self._clock = clock
        self._seen: Json = {}
        self._seen_at = clock()
        self._renewed_at = float("-inf")

    @property
    def holder(self) -> str:
        """The identity of the holder, as last observed; "" for none."""
        return str((self._seen.get("spec") or {}).get("holderIdentity") or "")

    @property
    def is_holder(self) -> bool:
        """Whether this candidate certainly holds the Lease: its last renewal is not older than the deadline."""
        return self.holder == self._identity and self._clock() - self._renewed_at < self._deadline

    async def acquire(self) -> None:
        """Wait until this candidate holds the Lease."""
        # unbounded: a try every few seconds, as long as another replica leads
        while True:
            # is_holder is False when the response was late, or this process was suspended
            if await self._try_to_acquire() and self.is_holder:
                return
            await asyncio.sleep(self._retry * (1 + 0.2 * random.random()))  # noqa: S311 # jitter, no secret

    async def renew_until_lost(self) -> str:
        """Renew until that fails for too long, or another replica holds the Lease; return the reason."""
        # unbounded: a renewal every few seconds, until the deadline
        while True:
            await asyncio.sleep(self._retry)
            left = self._renewed_at + self._deadline - self._clock()
            if left > 0:  # False after this process was suspended: another replica may have led
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._try_to_acquire()
            if self.holder not in {"", self._identity}:
                return f"{self.holder} has taken the Lease {self._namespace}/{self._name}"
            if not self.is_holder:
                return f"the Lease {self._namespace}/{self._name} could not be renewed for {self._deadline:g} s"

    async def release(self) -> None:
        """Release the Lease, if this candidate holds it. When that fails, the Lease expires."""
        if self.holder != self._identity:
            return
        self._renewed_at = float("-inf")  # another replica may acquire it before the response arrives
        with contextlib.suppress(ApiError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                # a cancelled renewal may have changed it
                self._observe(await self._transport.get(LEASE, self._name, self._namespace))
                if self.holder != self._identity:
                    return
                self._seen = await self._write({"holderIdentity": "", "leaseDurationSeconds": 1})
                log.info("lease.released", lease=self._name)

    async def _try_to_acquire(self) -> bool:
        """Acquire or renew the Lease; return whether this candidate holds it now."""
        try:
            return await self._acquire_or_renew()
        except (AlreadyExists, Conflict):
            return False  # another replica wrote it; the next request shows which
        except ApiError as error:
            log.warning("lease.unreachable", lease=self._name, error=error.message)
            return False
        except Exception as error:  # a response that cannot be read must not end the process
            log.exception("lease.unreadable", lease=self._name, error=repr(error))
            return False

    async def _acquire_or_renew(self) -> bool:
        requested_at = self._clock()
        try:
            self._observe(await self._transport.get(LEASE, self._name, self._namespace))
        except NotFound:
            if not self._may_create():
                return False
            metadata = {"name": self._name, "namespace": self._namespace}
            created = await self._transport.create(LEASE, {"metadata": metadata, "spec": self._spec(taken=True)})
            self._store_written(created, requested_at)
            return True
        is_renewal = self.holder == self._identity
        if self.holder and not is_renewal and self._clock() < self._seen_at + self._duration:
            return False
        self._store_written(await self._write(self._spec(taken=not is_renewal)), requested_at)
        return True

    def _may_create(self) -> bool:
        """Report whether no other replica can still count as holder of a Lease that does not exist."""
        if self.is_holder or not self._seen:
            return True
        self._observe(DELETED)
        return self._clock() >= self._seen_at + self._duration

    def _observe(self, found: Json) -> None:
        """Store the Lease, and when a change of it was first observed."""
        if found.get("spec") != self._seen.get("spec"):
            self._seen_at = self._clock()
        self._seen = found

    def _store_written(self, written: Json, requested_at: float) -> None:
        self._seen, self._seen_at = written, self._clock()
        self._renewed_at = requested_at  # the earliest moment from which other replicas may count

    async def _write(self, spec: Json) -> Json:
        guard = {"resourceVersion": self._seen["metadata"]["resourceVersion"]}
        return await self._transport.patch(
            LEASE, self._name, {"metadata": guard, "spec": spec}, namespace=self._namespace
        )

    def _spec(self, *, taken: bool) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Json = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "renewTime": now,
        }
        if taken:
            before = (self._seen.get("spec") or {}).get("leaseTransitions") or 0
            spec |= {"acquireTime": now, "leaseTransitions": int(before) + 1 if self._seen else 0}
        return spec
