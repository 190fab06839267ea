"""
Rounds of random operations on StatefulSets, with every pod checking that its volumes are its own.

MOORING_SOAK_ROUNDS and MOORING_SOAK_SEED choose how many rounds and which; `make adoption-soak` runs 200.
"""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests import sweeps
from tests.cluster.installing import wait
from tests.cluster.running import Running
from tests.cluster.sets import Json, claim, events, web
from tests.cluster.test_crashes import DEEDS
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(5400)]

ROUNDS = int(os.environ.get("MOORING_SOAK_ROUNDS", "16"))
SEED = int(os.environ.get("MOORING_SOAK_SEED", "0")) or sweeps.SEED
SETS = {
    "a": "mooring-directory",
    "a-0": "mooring-loop",
    "a-0-1": "mooring-directory",
    "b": "mooring-loop",
    "www-a": "mooring-directory",
}
"""Name → class. Code that splits claim names at dashes confuses these sets."""

TEMPLATES = ("www", "www-a")
PATIENCE = 240.0
UNREACHABLE = ("refused", "EOF", "reset by peer", "TLS handshake", "unavailable", "connection lost", "timed out")
"""Messages of kubectl while the API server is down or starting; every other message is an error."""

TOKENS = """
for volume in /data /www-a; do
  test -e $volume/token || { echo $(hostname) $volume $(cat /proc/sys/kernel/random/uuid) > $volume/new
                             mv $volume/new $volume/token; }
  read owner place rest < $volume/token
  test "$owner $place" = "$(hostname) $volume" || { echo "$volume is of $owner $place"; exit 1; }
done
touch /tmp/checked; trap exit TERM; while :; do sleep 1; done
"""
"""Each pod writes a token into each of its volumes once, and fails on a volume with another pod's token."""


@dataclass
class Soak:
    """The StatefulSets, and the expected contents of their volumes."""

    cluster: Running
    namespace: str
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    """(pod, mount path) → the token that was read there first."""
    volumes: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Claim → its volume and the claim's UID."""
    counts: Counter[str] = field(default_factory=Counter)
    counting: threading.Lock = field(default_factory=threading.Lock)
    nodes: threading.Lock = field(default_factory=threading.Lock)
    """Taken while a node is drained or a component that all sets need is killed."""

    def count(self, what: str, times: int = 1) -> None:
        """Count an operation for the report."""
        with self.counting:
            self.counts[what] += times

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """Run kubectl in the soak's namespace, and repeat it while the API server is unavailable."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.cluster.kubectl("-n", self.namespace, *arguments, text=text)
            except AssertionError as error:
                if time.monotonic() > end or not any(word in str(error) for word in UNREACHABLE):
                    raise
            time.sleep(0.5)

    def items(self, kind: str, name: str) -> list[Json]:
        """Return the objects of a set, selected by their common label."""
        found: list[Json] = json.loads(self.kubectl("get", kind, "-l", f"set={name}", "-o", "json"))["items"]
        return found

    def delete(self, *names: str) -> None:
        """Delete objects without waiting."""
        self.kubectl("delete", "--wait=false", "--ignore-not-found", *names)

    def apply(self, name: str) -> None:
        """Create or recreate the set."""
        self.kubectl("apply", "-f", "-", text=json.dumps(_stateful_set(name)))

    def claims(self, name: str) -> list[str]:
        """Return the set's claims as ``kind/name``."""
        return [f"pvc/{each['metadata']['name']}" for each in self.items("pvc", name)]

    def check(self, name: str, replicas: int) -> None:
        """Check I2: once all pods run, each volume has the token that it had when it was first read."""
        try:
            until(partial(self._runs, name, replicas), f"set {name} runs", seconds=PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._waits(name)}") from error
        for ordinal in range(replicas):
            pod = f"{name}-{ordinal}"
            shown = until(partial(self._tokens, pod), f"pod {pod} can be asked", seconds=PATIENCE)
            for line in shown:
                owner, place, _ = line.split()
                assert owner == pod, f"pod {pod} has a volume of {owner}"
                kept = self.tokens.setdefault((pod, place), line)
                assert kept == line, (
                    f"pod {pod} had {kept!r} at {place}, and now {line!r}: an empty volume, or another's"
                )
                self.count("tokens compared")
        for each in self.items("pvc", name):
            if each["status"].get("phase") == "Bound":
                self._remember(each)

    def _remember(self, bound: Json) -> None:
        key, volume, uid = bound["metadata"]["name"], bound["spec"]["volumeName"], bound["metadata"]["uid"]
        before, former = self.volumes.get(key, (volume, uid))
        assert before == volume, f"claim {key} had volume {before}, and now {volume}"
        self.count("claims recreated with their volume", former != uid)
        self.volumes[key] = (volume, uid)

    def _runs(self, name: str, replicas: int) -> bool:
        ready = [
            pod["metadata"]["name"]
            for pod in self.items("pods", name)
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ())
            )
        ]
        return sorted(ready) == [f"{name}-{ordinal}" for ordinal in range(replicas)]

    def _tokens(self, pod: str) -> list[str]:
        try:
            shown = self.cluster.shell(self.namespace, pod, "cat /data/token /www-a/token").splitlines()
        except AssertionError:  # the pod is terminating, or its kubelet is starting
            return []
        return shown if len(shown) == len(TEMPLATES) else []

    def _waits(self, name: str) -> str:
        names = [each["metadata"]["name"] for kind in ("pvc", "pods") for each in self.items(kind, name)]
        return "\n".join(f"{each}: {events(self.cluster, self.namespace, each)}" for each in names)


def _stateful_set(name: str) -> Json:
    """Return a set with two claim templates, whose claims have the set's name as a label."""
    _, made = web(SETS[name], size="16Mi" if SETS[name] == "mooring-directory" else "32Mi")
    labels = {"set": name}
    spec = made["spec"]
    made["metadata"]["name"] = name
    spec["serviceName"], spec["podManagementPolicy"] = "soak", "Parallel"
    spec["selector"], spec["template"]["metadata"] = {"matchLabels": labels}, {"labels": labels}
    size = spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    templates = [claim(each, SETS[name], size=size) for each in TEMPLATES]
    for each in templates:
        each["metadata"]["labels"] = labels
    spec["volumeClaimTemplates"] = templates
    [container] = spec["template"]["spec"]["containers"]
    container["command"] = ["sh", "-c", TOKENS]
    container["volumeMounts"] = [{"name": "www", "mountPath": "/data"}, {"name": "www-a", "mountPath": "/www-a"}]
    container["readinessProbe"] = {"exec": {"command": ["test", "-e", "/tmp/checked"]}, "periodSeconds": 1}
    return made


def _delete_pod(soak: Soak, name: str, chance: random.Random) -> None:
    soak.kubectl("delete", "pod", f"{name}-{chance.randrange(2)}", "--ignore-not-found", "--wait=false")


def _delete_pod_at_once(soak: Soak, name: str, chance: random.Random) -> None:
    pod = f"{name}-{chance.randrange(2)}"
    soak.kubectl("delete", "pod", pod, "--ignore-not-found", "--force", "--grace-period=0")


def _delete_claims_and_pods(soak: Soak, name: str, chance: random.Random) -> None:
    """Delete claims and pods; the claims are removed once their pods are gone, and recreated with them."""
    names = [*soak.claims(name), *(f"pod/{name}-{ordinal}" for ordinal in range(2))]
    chance.shuffle(names)
    soak.delete(*names[: chance.randrange(2, len(names) + 1)])


def _delete_claims_and_pods_at_once(soak: Soak, name: str, chance: random.Random) -> None:
    """Delete with grace period 0, so that the old pod still runs when the new claim exists."""
    soak.delete(*soak.claims(name))
    for ordinal in range(2):
        soak.kubectl("delete", "pod", f"{name}-{ordinal}", "--ignore-not-found", "--force", "--grace-period=0")
    del chance


def _recreate(soak: Soak, name: str, chance: random.Random) -> None:
    """Delete the set with all its claims, and apply it again while they are terminating or afterwards."""
    patient = chance.random() < 0.5
    soak.kubectl("delete", "statefulset", name, f"--wait={str(patient).lower()}")
    soak.delete(*soak.claims(name))
    if patient:
        until(lambda: not soak.claims(name), "the claims are gone", seconds=PATIENCE)
    else:
        until(lambda: not soak.kubectl("get", "statefulset", name, "--ignore-not-found"), "the set is gone")
    soak.apply(name)


def _scale(soak: Soak, name: str, chance: random.Random) -> None:
    """Scale down, with or without deleting the claims, and up again, sometimes to more replicas than before."""
    down, up = chance.randrange(2), chance.choice([2, 3])
    soak.kubectl("scale", "statefulset", name, f"--replicas={down}")
    until(lambda: len(soak.items("pods", name)) <= down, "the pods are gone", seconds=PATIENCE)
    if chance.random() < 0.5:
        gone = [each for each in soak.claims(name) if int(each.rpartition("-")[2]) >= down]
        soak.delete(*gone)
    soak.kubectl("scale", "statefulset", name, f"--replicas={up}")
    soak.check(name, up)
    soak.kubectl("scale", "statefulset", name, "--replicas=2")


def _drain(soak: Soak, name: str, chance: random.Random) -> None:
    """Drain a node; its pods are evicted and cannot run until it is uncordoned."""
    node = chance.choice(soak.cluster.nodes)
    with soak.nodes:
        try:
            soak.kubectl("drain", node, f"--pod-selector=set={name}", "--force", "--timeout=120s")
        finally:
            soak.kubectl("uncordon", node)


def _kill(soak: Soak, name: str, chance: random.Random) -> None:
    """Kill a component with SIGKILL, and delete a pod at the same time."""
    victim = chance.choice(sorted(DEEDS))
    with soak.nodes:
        _recreate(soak, name, chance) if victim == "controller" else _delete_pod(soak, name, chance)
        DEEDS[victim](soak.cluster)
        time.sleep(2)  # let this component restart before the next one is killed


Deed = Callable[[Soak, str, random.Random], None]
WHAT_HAPPENS: dict[str, Deed] = {
    "pod deleted": _delete_pod,
    "pod deleted with grace 0": _delete_pod_at_once,
    "claims and pods deleted": _delete_claims_and_pods,
    "claims and pods deleted with grace 0": _delete_claims_and_pods_at_once,
    "set and claims recreated": _recreate,
    "scaled": _scale,
    "node drained": _drain,
    "something killed": _kill,
}


@pytest.fixture
def soak(mooring: Running, namespace: str) -> Iterator[Soak]:
    """Create the sets and wait until they run; at the end, restart what was killed and uncordon all nodes."""
    made = Soak(mooring, namespace)
    for name in SETS:
        made.apply(name)
    for name in SETS:
        made.check(name, 2)
    yield made
    for node in mooring.nodes:
        mooring.kubectl("uncordon", node)
    wait(mooring)


def test_no_ordinal_ever_gets_another_claims_volume_or_an_empty_one(soak: Soak, report_lines: list[str]) -> None:
    """I2: after any operations in any order each pod reads its own tokens, in the same volumes."""
    start, stopped = time.monotonic(), threading.Event()
    kinds = sorted(WHAT_HAPPENS) * (ROUNDS // len(WHAT_HAPPENS) + 1)
    random.Random(SEED).shuffle(kinds := kinds[:ROUNDS])  # noqa: S311 - no secret
    shares = {name: kinds[number :: len(SETS)] for number, name in enumerate(SETS)}

    def live(name: str) -> None:
        chance = random.Random(f"{SEED} {name}")  # noqa: S311 - no secret
        for kind in shares[name]:
            if stopped.is_set():
                return
            try:
                WHAT_HAPPENS[kind](soak, name, chance)
                soak.count(kind)
                soak.check(name, 2)
            except BaseException as error:
                stopped.set()
                raise AssertionError(f"seed {SEED}, set {name}, {kind}: {error}") from error

    with ThreadPoolExecutor(len(SETS)) as threads:
        for done in [threads.submit(live, name) for name in SETS]:
            done.result()
    assert sum(soak.counts[kind] for kind in WHAT_HAPPENS) == ROUNDS
    assert soak.counts["claims recreated with their volume"] >= ROUNDS // 4, "hardly anything was adopted"
    counted = ", ".join(f"{what}: {count}" for what, count in sorted(soak.counts.items()))
    report_lines.append(
        f"adoption soak (seed {SEED}): {ROUNDS} rounds in {time.monotonic() - start:.0f} s, "
        f"no volume swapped, none empty; {counted}"
    )
