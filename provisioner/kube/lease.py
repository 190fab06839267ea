"""
Leader election on a Lease, after client-go's rules, so that one replica acts and another takes over.

Whether the holder is alive is judged by when *we* last saw the Lease change, never by its timestamps: clocks of two
machines need not agree. A leader that could not renew in time stops before anybody else may begin.

One rule is stricter than client-go's: a Lease that was there and is gone may have a leader that does not know it yet,
so the others leave it alone as long as one whose leader ended. Who starts just then knows of none, and makes it.
Source: client-go, tools/leaderelection.
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
"""So long after it last saw the Lease change, another replica takes it."""
RENEW_DEADLINE_SECONDS = 10.0
"""So long a leader tries to renew before it gives up."""
RETRY_SECONDS = 2.0
RELEASE_SECONDS = 2.0

GONE: Final[Json] = {"spec": {"holderIdentity": ""}}
"""What is seen where a Lease has been before."""


class Lease:
    """
    One candidate. `clock` is monotonic, in seconds.

    `acquired` returns once we hold the Lease, `lost` once we no longer do; `release` lets another take over at once.
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
        """Who holds it, as last seen; "" for nobody."""
        return str((self._seen.get("spec") or {}).get("holderIdentity") or "")

    @property
    def held(self) -> bool:
        """Whether we hold it for certain: the last renewal is not older than the deadline."""
        return self.holder == self._identity and self._clock() - self._renewed_at < self._deadline

    async def acquired(self) -> None:
        """Wait until we hold the Lease."""
        # unbounded: a try every few seconds, as long as another replica leads
        while True:
            if await self._try() and self.held:  # not so when the answer took too long, or this process was suspended
                return
            await asyncio.sleep(self._retry * (1 + 0.2 * random.random()))  # noqa: S311 # spreads tries, keeps no secret

    async def lost(self) -> str:
        """Renew until that fails for too long, or somebody else holds the Lease; what happened."""
        # unbounded: a renewal every few seconds, until the deadline
        while True:
            await asyncio.sleep(self._retry)
            left = self._renewed_at + self._deadline - self._clock()
            if left > 0:  # not so after a long sleep of this process: another may have come and gone
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._try()
            if self.holder not in {"", self._identity}:
                return f"{self.holder} has taken the Lease {self._namespace}/{self._name}"
            if not self.held:
                return f"the Lease {self._namespace}/{self._name} could not be renewed for {self._deadline:g} s"

    async def release(self) -> None:
        """Let go of it, if we hold it. When that fails, it runs out by itself."""
        if self.holder != self._identity:
            return
        self._renewed_at = float("-inf")  # another may take it before the answer is here
        with contextlib.suppress(ApiError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                # a renewal that was cut short may have changed it
                self._look(await self._transport.get(LEASE, self._name, self._namespace))
                if self.holder != self._identity:
                    return
                self._seen = await self._write({"holderIdentity": "", "leaseDurationSeconds": 1})
                log.info("lease.released", lease=self._name)

    async def _try(self) -> bool:
        """Take or renew the Lease; whether we hold it now."""
        try:
            return await self._take()
        except (AlreadyExists, Conflict):
            return False  # another one wrote; the next look shows who
        except ApiError as error:
            log.warning("lease.unreachable", lease=self._name, error=error.message)
            return False
        except Exception as error:  # an answer that cannot be read is no reason to end: the Lease runs out by itself
            log.exception("lease.unreadable", lease=self._name, error=repr(error))
            return False

    async def _take(self) -> bool:
        asked_at = self._clock()
        try:
            self._look(await self._transport.get(LEASE, self._name, self._namespace))
        except NotFound:
            if not self._may_make():
                return False
            metadata = {"name": self._name, "namespace": self._namespace}
            made = await self._transport.create(LEASE, {"metadata": metadata, "spec": self._spec(taken=True)})
            self._keep(made, asked_at)
            return True
        mine = self.holder == self._identity
        if self.holder and not mine and self._clock() < self._seen_at + self._duration:
            return False
        self._keep(await self._write(self._spec(taken=not mine)), asked_at)
        return True

    def _may_make(self) -> bool:
        """Whether nobody else can believe to hold a Lease that is not there."""
        if self.held or not self._seen:
            return True
        self._look(GONE)
        return self._clock() >= self._seen_at + self._duration

    def _look(self, found: Json) -> None:
        """What counts is that the Lease changed, and when we saw that."""
        if found.get("spec") != self._seen.get("spec"):
            self._seen_at = self._clock()
        self._seen = found

    def _keep(self, written: Json, asked_at: float) -> None:
        self._seen, self._seen_at = written, self._clock()
        self._renewed_at = asked_at  # the earliest moment from which others may count

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
