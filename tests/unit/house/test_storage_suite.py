"""The evaluation of Kubernetes' storage tests by `make storage-suite`."""

import importlib.machinery
import importlib.util
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hack.storage_suite import images
from hack.storage_suite.definitions import BACKENDS, CAPABILITIES, driver_definition, objects
from hack.storage_suite.running import Progress
from hack.storage_suite.verdict import ExpectedFailure, Spec, Verdict, expected_failures, specs, verdict
from provisioner.model.storage_class import ClassParameters, StorageClass
from tests.conftest import ROOT

EXPECTED = [ExpectedFailure("capacity", ("directory",), "Mooring's objects name the pool")]
LISTING = """
registry.k8s.io/e2e-test-images/agnhost:2.66.1
gcr.io/k8s-authenticated-test/agnhost:2.6
registry.k8s.io/e2e-test-images/busybox:1.37.0-2
registry.k8s.io/e2e-test-images/glibc-dns-testing:2.1.1
registry.k8s.io/e2e-test-images/nginx:1.27.0-2
registry.k8s.io/e2e-test-images/volume/nfs:1.6.0
"""


def _entry(name: str, state: str, *, node: str = "It", message: str = "") -> dict[str, Any]:
    return {
        "ContainerHierarchyTexts": ["[sig-storage]", "External Storage"] if node == "It" else None,
        "LeafNodeText": name,
        "LeafNodeType": node,
        "State": state,
        "RunTime": 2_000_000_000,
        "Failure": {"Message": message},
    }


def _verdict(*entries: dict[str, Any], whole: bool = True) -> Verdict:
    ran = specs([{"SpecReports": list(entries)}])
    return verdict("directory", ran, EXPECTED, whole=whole, seconds=3.0)


def test_a_run_with_only_expected_failures_is_good() -> None:
    """Expected failures are counted separately."""
    result = _verdict(
        _entry("subPath", "passed"),
        _entry("capacity", "failed", message="no objects"),
        _entry("snapshots", "skipped", message="not supported"),
        _entry("disruptive", "skipped"),
    )

    assert result.good
    assert str(result) == (
        "storage-suite directory: 2 run, 1 passed, 1 failed as expected, 0 failed, 1 skipped, 1 left out, 3 s: OK"
    )
    assert result.skipped == {"not supported": 1}


@pytest.mark.parametrize("state", ["failed", "panicked", "timedout", "interrupted", "aborted"])
def test_any_other_failure_is_a_problem(state: str) -> None:
    """All kinds of failures count; the problem has the spec's name and message."""
    result = _verdict(_entry("subPath", state, message="wrong\n  content"), _entry("capacity", "failed"))

    assert not result.good
    assert result.problems == ("FAILED: [sig-storage] External Storage subPath\n        wrong content",)


def test_an_expected_failure_that_passes_is_a_problem() -> None:
    """Otherwise the list would hide the next failure."""
    result = _verdict(_entry("capacity", "passed"))

    assert [problem.startswith("PASSED, but is in expected_failures.toml") for problem in result.problems] == [True]


def test_an_expected_failure_without_a_spec_is_a_problem_of_a_whole_run_only() -> None:
    """A renamed spec leaves an entry without effect; FOCUS excludes specs deliberately."""
    assert not _verdict(_entry("subPath", "passed")).good
    assert not _verdict(_entry("subPath", "passed"), _entry("capacity", "skipped", message="no")).good
    assert _verdict(_entry("subPath", "passed"), whole=False).good


def test_a_run_without_specs_or_with_a_failed_set_up_is_not_good() -> None:
    """An error before the first spec is not a success."""
    assert not _verdict(whole=False).good
    assert not _verdict(_entry("", "failed", node="SynchronizedBeforeSuite"), whole=False).good
    assert not verdict("directory", specs([]), [], whole=False, seconds=0).good


def test_specs_of_other_suites_are_not_counted() -> None:
    """The report lists all of Kubernetes' end-to-end tests."""
    other = _entry("pods", "skipped") | {"ContainerHierarchyTexts": ["[sig-node]"]}

    assert specs([{"SpecReports": [other, _entry("subPath", "passed")]}]) == [
        Spec("[sig-storage] External Storage subPath", "passed", 2.0, "")
    ]


def test_every_expected_failure_names_a_backend_a_reason_and_a_capability_that_exist() -> None:
    """A mistake in the list must not hide a failure."""
    loader = importlib.machinery.SourceFileLoader("capabilities_script", str(ROOT / "hack" / "capabilities"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    probes = importlib.util.module_from_spec(spec)
    loader.exec_module(probes)

    for each in expected_failures():
        assert re.compile(each.spec)
        assert set(each.backends) <= BACKENDS.keys()
        assert each.reason
        assert not each.unless or each.unless in probes.PROBES
    limited = ExpectedFailure("x", ("directory",), "why", unless="sys_resource")
    assert limited.applies("directory", ["root"])
    assert not limited.applies("directory", ["sys_resource"])
    assert not limited.applies("loop-xfs", [])


def test_the_definitions_have_only_known_capabilities_and_parameters() -> None:
    """Kubernetes' tests ignore an unknown capability; Mooring refuses an unknown parameter only for a claim."""
    for backend in BACKENDS.values():
        assert driver_definition(backend)["DriverInfo"]["Capabilities"].keys() <= CAPABILITIES
    classes = [each for each in objects() if each["kind"] == "StorageClass"]

    assert {each["metadata"]["name"] for each in classes} == {backend.class_name for backend in BACKENDS.values()}
    for each in classes:
        read = StorageClass.of(each)
        assert (read.reclaim_policy, ClassParameters.parse(read.parameters).adopt) == ("Delete", "Never")


def test_progress_counts_specs_and_names_failures_in_partial_output() -> None:
    """A bullet may be split, and passed specs end no line."""
    output = (
        "Will run 4 of 7000 specs\nRunning in parallel across 2 processes\n••\n"
        "------------------------------\n• [FAILED] [6.1 seconds]\n[sig-storage] External Storage subPath\n/a/b.go:1\n•"
    ).encode()
    progress = Progress()

    reported = [name for at in range(len(output)) for name in progress.feed(output[at : at + 1])]

    assert (progress.done, progress.total) == (4, 4)
    assert reported == progress.failed == ["[sig-storage] External Storage subPath"]


def test_the_images_have_every_name_that_the_tests_use() -> None:
    """Images of other registries are for tests that need the internet; a missing name is an error."""
    assert [name.rpartition("/")[2] for name in images.names(LISTING)] == [
        "agnhost:2.66.1",
        "busybox:1.37.0-2",
        "glibc-dns-testing:2.1.1",
        "nginx:1.27.0-2",
    ]
    with pytest.raises(ValueError, match="names no image busybox"):
        images.names(LISTING.replace("/busybox:", "/toybox:"))


@pytest.mark.needs("root")
def test_the_images_have_agnhost_and_a_dd_with_nocache(tmp_path: Path) -> None:
    """The shell of an image has GNU dd and `let`; the entry point of agnhost's image is agnhost."""
    agnhost = tmp_path / "agnhost-program"
    agnhost.write_bytes(b"#!/bin/sh\n")
    images.write(tmp_path / "images.tar", images.names(LISTING), agnhost)
    blobs, root = tmp_path / "blobs", tmp_path / "root"
    with tarfile.open(tmp_path / "images.tar") as archive:
        archive.extractall(blobs, filter="data")
    index = json.loads((blobs / "index.json").read_bytes())["manifests"]
    manifests = [json.loads(_blob(blobs, each).read_bytes()) for each in index]
    configs = [json.loads(_blob(blobs, each["config"]).read_bytes())["config"] for each in manifests]
    with tarfile.open(_blob(blobs, manifests[0]["layers"][0])) as layer:
        layer.extractall(root, filter="tar")

    assert [(each["Entrypoint"], each["Cmd"]) for each in configs] == [(["/agnhost"], ["pause"]), *3 * [([], ["sh"])]]
    assert (root / "agnhost").stat().st_mode & 0o777 == 0o755
    assert not (root / "bin" / "dd").is_symlink()
    shell = "i=0; let i+=1; printf x$i | dd of=/tmp/out oflag=nocache status=none && exec ls /tmp"
    listed = subprocess.run(
        ["chroot", root, "/bin/sh", "-c", shell], env={"PATH": "/bin:/usr/sbin"}, capture_output=True, check=True
    )
    assert listed.stdout == b"out\n"
    assert (root / "tmp" / "out").read_bytes() == b"x1"


def _blob(folder: Path, descriptor: dict[str, Any]) -> Path:
    return folder / "blobs" / "sha256" / str(descriptor["digest"]).removeprefix("sha256:")
