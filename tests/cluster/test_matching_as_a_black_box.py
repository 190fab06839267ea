"""
The real kube-controller-manager binds random sets of claims and volumes, and each result is one that the matcher allows.

MOORING_SCENARIOS is the number of scenarios, MOORING_SCENARIOS_SEED selects them.
"""

import asyncio
import base64
import os
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.kube.errors import NotFound
from provisioner.kube.transport import KubeTransport
from provisioner.model.claim import Claim
from provisioner.model.kinds import CLAIM, NAMESPACE, STORAGE_CLASS, VOLUME
from provisioner.model.storage_class import StorageClass
from provisioner.model.volume import Volume
from tests import sweeps
from tests.cluster.matching_scenarios import Scenario, allowed, ours, scenario
from tests.cluster.running import Running
from tests.until import until_async

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(900)]

Json = dict[str, Any]
SCENARIOS = int(os.environ.get("MOORING_SCENARIOS", "120"))
SEED = int(os.environ.get("MOORING_SCENARIOS_SEED", "0")) or sweeps.SEED
AT_ONCE = 16
PATIENCE = 120.0
QUIET_SECONDS = 20.0
"""Longer than the resync period of kube-controller-manager, which is 15 seconds."""


async def _all(work: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Run the calls, a few at a time."""
    most = asyncio.Semaphore(AT_ONCE)

    async def one(each: Callable[[], Awaitable[object]]) -> None:
        async with most:
            await each()

    await asyncio.gather(*(one(each) for each in work))


class Server:
    """The scenarios on a real API server."""

    def __init__(self, transport: KubeTransport, scenarios: list[Scenario]) -> None:
        self._transport = transport
        self._scenarios = scenarios
        self._mine = f"scenario={scenarios[0].namespace}"

    async def make(self, chance: random.Random) -> None:
        """Create the volumes, wait until they are Available or Released, and create the claims in any order."""
        create = self._transport.create
        await create(NAMESPACE, {"metadata": {"name": self._scenarios[0].namespace}})
        await _all(partial(create, STORAGE_CLASS, each.storage_class) for each in self._scenarios)
        volumes = [volume for each in self._scenarios for volume in each.volumes]
        await _all(partial(create, VOLUME, each) for each in volumes)
        await until_async(self._is_seen, "every volume has a phase", seconds=PATIENCE, pause=0.5)
        claims = [claim for each in self._scenarios for claim in each.claims]
        chance.shuffle(claims)
        self.before = await self.volumes()
        await _all(partial(create, CLAIM, each) for each in claims)

    async def volumes(self) -> list[Json]:
        """As they are now."""
        return (await self._transport.list(VOLUME, label_selector=self._mine)).items

    async def claims(self) -> list[Json]:
        """As they are now."""
        return (await self._transport.list(CLAIM, label_selector=self._mine)).items

    async def _is_seen(self) -> bool:
        return all(each.get("status", {}).get("phase") in {"Available", "Released"} for each in await self.volumes())

    async def pairings(self) -> dict[str, frozenset[tuple[str, str]]]:
        """Return the pairs of each scenario: claim and volume name each other, and both are Bound."""
        found: dict[str, set[tuple[str, str]]] = defaultdict(set)
        claims = {each["metadata"]["uid"]: each for each in await self.claims()}
        for volume in await self.volumes():
            claim = claims.get(volume["spec"].get("claimRef", {}).get("uid", ""))
            name = volume["metadata"]["name"]
            if claim is None or claim["spec"].get("volumeName") != name or claim["status"].get("phase") != "Bound":
                continue
            found[volume["spec"]["storageClassName"]].add((claim["metadata"]["name"], name))
        return {each.name: frozenset(found[each.name]) for each in self._scenarios}

    async def remove(self) -> None:
        """Delete all objects."""

        async def delete(kind: Any, name: str, namespace: str = "") -> None:
            try:
                await self._transport.delete(kind, name, namespace=namespace)
            except NotFound:
                return

        space = self._scenarios[0].namespace
        names = [each["metadata"]["name"] for each in await self.claims()]
        await _all(partial(delete, CLAIM, name, space) for name in names)
        names = [each["metadata"]["name"] for each in await self.volumes()]
        await _all(partial(delete, VOLUME, name) for name in names)
        await _all(partial(delete, STORAGE_CLASS, each.name) for each in self._scenarios)
        await delete(NAMESPACE, space)


def _kubeconfig(cluster: Running, folder: Path) -> Path:
    """Write a kubeconfig whose keys are in files of the test: the client library keeps its own until the process ends."""
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    for entry in (config["clusters"][0]["cluster"], config["users"][0]["user"]):
        for key in [each for each in entry if each.endswith("-data")]:
            name = key.removesuffix("-data")
            (folder / name).write_bytes(base64.b64decode(entry.pop(key)))
            entry[name] = str(folder / name)
    (folder / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder / "kubeconfig"


async def _bind(kubeconfig: Path, scenarios: list[Scenario], chance: random.Random) -> tuple[int, int, float]:
    """Bind and compare; return the number of pairs, of scenarios with several allowed results, and the seconds."""
    transport = await KubeTransport.from_kubeconfig(kubeconfig)
    server = Server(transport, scenarios)
    try:
        start = time.monotonic()
        await server.make(chance)
        before = _by_class(server.before, Volume.of)
        claims = _by_class([_unbound(each) for each in await server.claims()], Claim.of)
        may = {each.name: allowed(claims[each.name], before[each.name]) for each in scenarios}

        async def settled() -> bool:
            found = await server.pairings()
            return all(found[each.name] in may[each.name] for each in scenarios)

        try:
            await until_async(settled, "every scenario is bound as the matcher allows", seconds=PATIENCE, pause=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}: {_describe(scenarios, await server.pairings(), may)}") from error
        took = time.monotonic() - start
        await asyncio.sleep(QUIET_SECONDS)
        assert await settled(), f"seed {SEED}: {_describe(scenarios, await server.pairings(), may)}"
        for each in scenarios:
            pairing = ours(claims[each.name], before[each.name], StorageClass.of(each.storage_class))
            assert pairing in may[each.name], (
                f"seed {SEED}: the result of the matcher is none of the pairings of {each}"
            )
        pairs = sum(map(len, (await server.pairings()).values()))
        return pairs, sum(len(each) > 1 for each in may.values()), took
    finally:
        await server.remove()
        await transport.close()


def _by_class(objects: list[Json], view: Callable[[Json], Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for each in objects:
        found[each["spec"]["storageClassName"]].append(view(each))
    return found


def _unbound(claim: Json) -> Json:
    """Return the claim as it was created, without what the binder wrote."""
    named = "pv.kubernetes.io/bound-by-controller" not in (claim["metadata"].get("annotations") or {})
    spec = claim["spec"] if named else {key: value for key, value in claim["spec"].items() if key != "volumeName"}
    metadata = {key: value for key, value in claim["metadata"].items() if key != "annotations"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}


def _describe(scenarios: list[Scenario], found: dict[str, Any], may: dict[str, Any]) -> str:
    wrong = next(each for each in scenarios if found[each.name] not in may[each.name])
    objects = yaml.safe_dump_all([*wrong.volumes, *wrong.claims])
    return f"{wrong.name} is {set(found[wrong.name])}, and may be {[set(each) for each in may[wrong.name]]}\n{objects}"


def test_every_scenario_ends_as_the_matcher_allows(cluster: Running, tmp_path: Path, report_lines: list[str]) -> None:
    """In any order of the claims, the binder's pairs are ones that the matcher allows, as are the matcher's own."""
    chance, space = random.Random(SEED), f"scenarios-{uuid.uuid4().hex[:6]}"  # noqa: S311 - no secret
    scenarios = [scenario(chance, name=f"{space}-{number}", namespace=space) for number in range(SCENARIOS)]
    pairs, free, seconds = asyncio.run(_bind(_kubeconfig(cluster, tmp_path), scenarios, chance))
    report_lines.append(
        f"black box (seed {SEED}): {pairs} pairs in {SCENARIOS} scenarios, bound by kube-controller-manager in "
        f"{seconds:.0f} s, all of them allowed; {free} scenarios allow more than one result"
    )
