"""
Evaluate a run of Kubernetes' storage tests: pure functions of ginkgo's JSON report and the list of expected failures.

A run is good when exactly the expected specs failed.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

EXPECTED_FILE: Final = Path(__file__).parent / "expected_failures.toml"
SUITE: Final = "External Storage"
_NOT_RUN: Final = {"skipped", "pending"}
MESSAGE_CHARACTERS: Final = 300


@dataclass(frozen=True)
class ExpectedFailure:
    """
    A kind of spec that fails, and why.

    :ivar spec: regular expression that is searched in the spec's full name
    :ivar backends: the backends it fails on
    :ivar unless: capability of hack/capabilities with which it passes; "" when there is none
    """

    spec: str
    backends: tuple[str, ...]
    reason: str
    unless: str = ""

    def applies(self, backend: str, capabilities: Iterable[str]) -> bool:
        """Report whether such specs fail on this backend and a machine with these capabilities."""
        return backend in self.backends and self.unless not in capabilities


@dataclass(frozen=True)
class Spec:
    """One spec of the report; `message` says why it failed or was skipped, "" for one that was filtered out."""

    name: str
    state: str
    seconds: float
    message: str

    @property
    def passed(self) -> bool:
        """Whether it ran and passed."""
        return self.state == "passed"

    @property
    def failed(self) -> bool:
        """Whether it ran and did not pass."""
        return not self.passed and self.state not in _NOT_RUN


@dataclass(frozen=True)
class Verdict:
    """The result of one backend: counts, and problems, a line each."""

    backend: str
    passed: int
    failed_as_expected: int
    failed: int
    skipped: dict[str, int]
    """Reason → number of the specs that skipped themselves."""

    filtered: int
    """Specs of the suite that were not to run: disruptive ones, and those outside FOCUS."""

    problems: tuple[str, ...]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __str__(self) -> str:
        ran = self.passed + self.failed_as_expected + self.failed
        counts = (
            f"{ran} run, {self.passed} passed, {self.failed_as_expected} failed as expected, {self.failed} failed, "
            f"{sum(self.skipped.values())} skipped, {self.filtered} left out"
        )
        return f"storage-suite {self.backend}: {counts}, {self.seconds:.0f} s: {'OK' if self.good else 'FAILED'}"


def expected_failures(file: Path = EXPECTED_FILE) -> list[ExpectedFailure]:
    """Read the list of expected failures."""
    entries: list[dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))["expected"]
    return [ExpectedFailure(**{**entry, "backends": tuple(entry["backends"])}) for entry in entries]


def specs(report: list[dict[str, Any]]) -> list[Spec]:
    """Return the specs of the storage suite, and every set-up or clean-up of the whole run that failed."""
    found = [_spec(each) for suite in report for each in suite["SpecReports"] or []]
    return [spec for is_test, spec in found if (SUITE in spec.name if is_test else spec.failed)]


def _spec(entry: dict[str, Any]) -> tuple[bool, Spec]:
    """Return one entry of the report, and whether it is a test rather than a set-up."""
    is_test = entry["LeafNodeType"] == "It"
    name = " ".join([*(entry.get("ContainerHierarchyTexts") or []), entry["LeafNodeText"] or entry["LeafNodeType"]])
    failure = entry.get("Failure") or {}
    return is_test, Spec(name, entry["State"], entry.get("RunTime", 0) / 1e9, failure.get("Message", ""))


def verdict(
    backend: str,
    ran: list[Spec],
    expected: list[ExpectedFailure],
    *,
    whole: bool,
    seconds: float,
) -> Verdict:
    """
    Return the verdict of a run on one backend.

    :param expected: the failures that apply to this backend and machine
    :param whole: the whole suite was run, so each expected failure has to have a spec
    """
    failed = [spec for spec in ran if spec.failed]
    known = [spec for spec in failed if any(re.search(each.spec, spec.name) for each in expected)]
    unexpected = [spec for spec in failed if spec not in known]
    passed = [spec for spec in ran if spec.passed]
    problems = [f"FAILED: {spec.name}\n        {_short(spec.message)}" for spec in unexpected]
    for each in expected:
        named = [spec for spec in ran if re.search(each.spec, spec.name)]
        problems += [
            f"PASSED, but is in {EXPECTED_FILE.name} ({each.reason}): {spec.name}" for spec in named if spec.passed
        ]
        if whole and not any(spec.passed or spec.failed for spec in named):
            problems.append(f"NO SPEC RAN of the expected failure {each.spec!r}: correct or remove it")
    if not passed and not failed:
        problems.append("NO SPEC RAN")
    skipped = [spec for spec in ran if spec.state in _NOT_RUN and spec.message]
    return Verdict(
        backend=backend,
        passed=len(passed),
        failed_as_expected=len(known),
        failed=len(unexpected),
        skipped=dict(Counter(_short(spec.message) for spec in skipped)),
        filtered=len([spec for spec in ran if spec.state in _NOT_RUN and not spec.message]),
        problems=tuple(problems),
        seconds=seconds,
    )


def _short(message: str) -> str:
    """Return a message on one line of bounded length."""
    line = " ".join(message.split())
    return line if len(line) <= MESSAGE_CHARACTERS else f"{line[:MESSAGE_CHARACTERS]} …"
