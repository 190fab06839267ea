"""Measure binding on a real cluster, and hold it to the figures of the guides."""

import json
import os
import statistics
import subprocess
import threading
import time

import pytest

from tests.cluster.running import Running
from tests.cluster.sets import bound, rolled_out, web
from tests.until import until

pytestmark = [pytest.mark.needs("cluster"), pytest.mark.timeout(600)]

CLAIMS = 20
PROMISED_SECONDS = 1.0
SELECTED = "volume.kubernetes.io/selected-node"


class Watch:
    """The times at which each claim of a namespace was first seen with a selected node, and first Bound."""

    def __init__(self, cluster: Running, namespace: str) -> None:
        kubectl = [f"{cluster.cluster.programs}/kubectl", f"--kubeconfig={cluster.kubeconfig}"]
        argv = [*kubectl, "-n", namespace, "get", "pvc", "--watch", "-o", "json"]
        self.selected: dict[str, float] = {}
        self.bound: dict[str, float] = {}
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        decoder, rest = json.JSONDecoder(), ""
        while chunk := os.read(self._process.stdout.fileno(), 1 << 16).decode():
            now, rest = time.monotonic(), rest + chunk
            while rest.strip():
                try:
                    claim, end = decoder.raw_decode(rest.lstrip())
                except ValueError:
                    break
                rest = rest.lstrip()[end:]
                name = claim["metadata"]["name"]
                if SELECTED in claim["metadata"].get("annotations", {}):
                    self.selected.setdefault(name, now)
                if claim.get("status", {}).get("phase") == "Bound":
                    self.bound.setdefault(name, now)

    def end(self) -> None:
        """Stop watching."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def test_a_claim_is_bound_within_a_second(mooring: Running, namespace: str, report_lines: list[str]) -> None:
    """Measured from the selected node; the median over twenty claims, created one after the other."""
    watch = Watch(mooring, namespace)
    try:
        mooring.apply(namespace, *web("mooring-directory", replicas=CLAIMS, size="16Mi"))
        rolled_out(mooring, namespace, seconds=300)
        until(lambda: len(watch.bound) == CLAIMS, "the watch shows all")
    finally:
        watch.end()
    assert CLAIMS == len(bound(mooring, namespace))
    took = sorted(watch.bound[name] - watch.selected[name] for name in watch.bound)
    median = statistics.median(took)
    report_lines.append(
        f"bound: {median:.2f} s after the selected node, median of {CLAIMS} (from {took[0]:.2f} to {took[-1]:.2f})"
    )
    assert median <= PROMISED_SECONDS
