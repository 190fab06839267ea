"""
Controllers, and the loop that runs them.

Reconciling is level-based: `reconcile` gets a key and never an event. It reads the caches, decides and acts, and is
idempotent. Caches lag behind, so AlreadyExists, Conflict and NotFound are ordinary responses.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from provisioner.kube.cache import Caches
from provisioner.kube.errors import Conflict, NotFound
from provisioner.kube.loops import forever
from provisioner.kube.queue import WorkQueue
from provisioner.kube.reflector import Reflector
from provisioner.kube.repeats import Repeats
from provisioner.kube.transport import Transport
from provisioner.model.errors import ExpectedError
from provisioner.model.kinds import Json, Kind

log = structlog.get_logger()

Key = tuple[str, str]
"""(namespace, name); the namespace is "" for a cluster-scoped object."""

CONFLICT_SECONDS = 0.05
"""Pause in seconds after a Conflict, long enough for the watch to deliver the change."""


@dataclass(frozen=True, slots=True)
class Done:
    """Reconciled: nothing to do until an object changes."""


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Reconcile again after so many seconds, because of `why`, whether an object changed or not."""

    seconds: float
    why: str


Result = Done | RequeueAfter


def namespace_of(key: Key) -> str:
    """Return the key's namespace: queues serve namespaces in turn, so that a large one does not delay the others."""
    return key[0]


class TerminalError(Exception):
    """Retrying is of no use until the object changes."""


class Controller(Protocol):
    """One reconciler. `workers` keys are reconciled concurrently, never the same key twice at once."""

    name: str
    workers: int

    def watches(self) -> Mapping[Kind, Callable[[Json], Iterable[Key]]]:
        """
        Return, for each kind to watch, the function from an object to the keys to enqueue.

        It is called for the old and the new version of every object that was created, changed or deleted; a key that
        is enqueued twice is reconciled once.
        """

    async def reconcile(self, key: Key) -> Result:
        """
        Reconcile one key.

        Raise to retry with exponential backoff; raise TerminalError to give up until the object changes.
        """


class ControlPlane:
    """Runs controllers on shared caches: one list and watch for each kind, one queue for each controller."""

    def __init__(self, transport: Transport, controllers: Sequence[Controller], caches: Caches) -> None:
        self._transport = transport
        self._caches = caches
        self._queues: list[tuple[Controller, WorkQueue[Key]]] = [
            (each, WorkQueue(group=namespace_of)) for each in controllers
        ]
        self._handlers: dict[Kind, list[tuple[Callable[[Json], Iterable[Key]], WorkQueue[Key], str]]] = {}
        for controller, queue in self._queues:
            for kind, keys in controller.watches().items():
                self._handlers.setdefault(kind, []).append((keys, queue, controller.name))

    async def run(self) -> None:
        """Run until cancelled. Workers start once every kind is listed, so no decision is based on partial facts."""
        async with asyncio.TaskGroup() as group:
            reflectors = [
                Reflector(self._transport, kind, self._caches[kind], changed=self._enqueue_for(kind))
                for kind in self._handlers
            ]
            for reflector in reflectors:
                group.create_task(reflector.run())
            for reflector in reflectors:
                await reflector.synced.wait()
            for controller, queue in self._queues:
                repeats = Repeats()
                for _ in range(controller.workers):
                    group.create_task(_work(controller, queue, repeats))

    def _enqueue_for(self, kind: Kind) -> Callable[[Json], None]:
        def enqueue(obj: Json) -> None:
            for keys, queue, name in self._handlers[kind]:
                try:
                    for key in keys(obj):
                        queue.add(key)
                except Exception as error:  # noqa: BLE001 # an unreadable object must not stop the others
                    log.warning("object.unreadable", controller=name, kind=kind.plural, error=repr(error))

        return enqueue


async def _work(controller: Controller, queue: WorkQueue[Key], repeats: Repeats) -> None:
    """Run one worker of a controller for ever: no error of one key stops the others."""
    await forever(f"worker of {controller.name}", lambda: _work_once(controller, queue, repeats))


async def _work_once(controller: Controller, queue: WorkQueue[Key], repeats: Repeats) -> None:
    """
    Reconcile one key. Log an error once, and at debug level as long as the key fails with the same error.

    The log has a traceback of a bug only, not of a refusal by a server, a driver or the operating system.
    """
    key = await queue.get()
    try:
        result = await controller.reconcile(key)
    except Conflict:
        queue.add_after(key, CONFLICT_SECONDS)
    except TerminalError as error:
        queue.forget(key)
        level = logging.WARNING if repeats.is_new(key, repr(error)) else logging.DEBUG
        log.log(level, "reconcile.refused", controller=controller.name, key="/".join(key), error=str(error))
    except Exception as error:  # an error of one key must not stop the others
        delay = queue.retry(key)
        is_new = repeats.is_new(key, repr(error))
        level = logging.INFO if isinstance(error, NotFound) else logging.WARNING
        is_expected = isinstance(error, ExpectedError | OSError)
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
        repeats.forget(key)
        if isinstance(result, RequeueAfter):
            queue.add_after(key, result.seconds)
    finally:
        queue.done(key)
