"""
Controllers and what runs them.

Reconciling is level-based: `reconcile` gets a key and never an event. It looks at the caches, decides and acts; run
twice it does nothing the second time. Caches lag behind, so AlreadyExists, Conflict and NotFound are ordinary answers.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from provisioner.kube.cache import Caches
from provisioner.kube.errors import ApiError, Conflict, NotFound
from provisioner.kube.loops import forever
from provisioner.kube.queue import WorkQueue
from provisioner.kube.reflector import Reflector
from provisioner.kube.repeats import Repeats
from provisioner.kube.transport import Transport
from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import Json, Kind

log = structlog.get_logger()

Key = tuple[str, str]
"""(namespace, name); the namespace is "" for a cluster-scoped object."""

CONFLICT_SECONDS = 0.05
"""Long enough for the watch to bring what was missed."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do until something changes."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Come back after so many seconds, because of `why`, whether something changed or not."""

    seconds: float
    why: str


Result = Done | RequeueAfter


def namespace_of(key: Key) -> str:
    """By what the keys of a controller take turns: a namespace with many objects does not hold up the others."""
    return key[0]


class TerminalError(Exception):
    """Trying again is of no use until the object changes."""


class Controller(Protocol):
    """One reconciler. `workers` keys are worked on at a time, and never the same key twice at once."""

    name: str
    workers: int

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """
        For each kind it looks at, which keys an object wakes.

        Asked of every object that changed or went, as it was and as it is; a key that comes twice is worked on once.
        """

    async def reconcile(self, key: Key) -> Result:
        """Bring the world nearer to what it should be. An exception means: try again, later and later."""


class ControlPlane:
    """Runs controllers on shared caches: one list and watch for each kind, one queue for each controller."""

    def __init__(self, transport: Transport, controllers: Sequence[Controller], caches: Caches) -> None:
        self._transport = transport
        self._caches = caches
        self._queues: list[tuple[Controller, WorkQueue[Key]]] = [
            (each, WorkQueue(group=namespace_of)) for each in controllers
        ]
        self._wakes: dict[Kind, list[tuple[Callable[[Json], Iterable[Key]], WorkQueue[Key], str]]] = {}
        for controller, queue in self._queues:
            for kind, keys in controller.watches().items():
                self._wakes.setdefault(kind, []).append((keys, queue, controller.name))

    async def run(self) -> None:
        """Until cancelled. Workers start once every kind has been listed: nobody decides on half of the facts."""
        async with asyncio.TaskGroup() as group:
            reflectors = [
                Reflector(self._transport, kind, self._caches[kind], changed=self._waker(kind)) for kind in self._wakes
            ]
            for reflector in reflectors:
                group.create_task(reflector.run())
            for reflector in reflectors:
                await reflector.synced.wait()
            for controller, queue in self._queues:
                said = Repeats()
                for _ in range(controller.workers):
                    group.create_task(_work(controller, queue, said))

    def _waker(self, kind: Kind) -> Callable[[Json], None]:
        def wake(obj: Json) -> None:
            for keys, queue, name in self._wakes[kind]:
                try:
                    for key in keys(obj):
                        queue.add(key)
                except Exception as error:  # noqa: BLE001 # one bad object never stops the rest
                    log.warning("object.unreadable", controller=name, kind=kind.plural, error=repr(error))

        return wake


async def _work(controller: Controller, queue: WorkQueue[Key], said: Repeats) -> None:
    """One worker of a controller, for ever: whatever a key does, the others are served."""
    await forever(f"worker of {controller.name}", lambda: _work_once(controller, queue, said))


async def _work_once(controller: Controller, queue: WorkQueue[Key], said: Repeats) -> None:
    """Reconcile one key. An error is logged once, and at debug level as long as the key fails in the same way."""
    key = await queue.get()
    try:
        result = await controller.reconcile(key)
    except Conflict:
        queue.add_after(key, CONFLICT_SECONDS)
    except TerminalError as error:
        queue.forget(key)
        level = logging.WARNING if said.is_new(key, repr(error)) else logging.DEBUG
        log.log(level, "reconcile.refused", controller=controller.name, key="/".join(key), error=str(error))
    except Exception as error:  # one bad object never stops the rest
        delay = queue.retry(key)
        is_new = said.is_new(key, repr(error))
        level = logging.INFO if isinstance(error, NotFound) else logging.WARNING
        is_expected = isinstance(error, ApiError | InvalidObject)
        log.log(
            level if is_new else logging.DEBUG,
            "reconcile.failed",
            controller=controller.name,
            key="/".join(key),
            error=str(error) or repr(error),
            again_in=round(delay, 2),
            exc_info=error if is_new and not is_expected else None,
        )
    else:
        queue.forget(key)
        said.forget(key)
        if isinstance(result, RequeueAfter):
            queue.add_after(key, result.seconds)
    finally:
        queue.done(key)
