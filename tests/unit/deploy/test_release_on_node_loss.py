"""The right to delete claims: granted only by a component, and restricted by admission policies."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from provisioner.model.kinds import Json
from tests import programs
from tests.unit.deploy.rendering import CHART, DEPLOY, NAMESPACE, Key, charted, kustomized, of_kind, overlay
from tests.unit.deploy.strict import problems

pytestmark = [pytest.mark.needs("kubectl"), pytest.mark.timeout(programs.BUILD_SECONDS)]

RIGHTS = DEPLOY / "components" / "release-on-node-loss" / "rights.yaml"
ROLE = ("ClusterRole", "", "mooring-controller-node-loss")


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> dict[Key, Json]:
    """Return the objects that the component adds to an overlay."""
    copy = tmp_path_factory.mktemp("added") / "deploy"
    shutil.copytree(DEPLOY, copy)
    kustomization: Path = copy / "overlays" / "upstream" / "kustomization.yaml"
    with kustomization.open("a", encoding="utf-8") as file:
        file.write("  - ../../components/release-on-node-loss\n")
    before, after = overlay("upstream"), kustomized(kustomization.parent)
    assert all(after[key] == obj for key, obj in before.items())
    return {key: obj for key, obj in after.items() if key not in before}


def test_the_chart_adds_the_same(added: dict[Key, Json]) -> None:
    """The chart adds them with one value, and nothing without it."""
    charts = charted("--set", "releaseOnNodeLoss=true")
    assert added == {key: obj for key, obj in charts.items() if key not in overlay("upstream")}
    assert ROLE not in charted()


def test_a_strict_server_accepts_it(added: dict[Key, Json]) -> None:
    """Every field is known, and no required field is missing."""
    assert [problem for obj in added.values() for problem in problems(obj)] == []


def test_it_grants_two_rights_with_reasons(added: dict[Key, Json]) -> None:
    """The rights are to delete claims and pods; each rule has a comment above it."""
    rules = added[ROLE]["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["delete"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]},
    ]
    lines = RIGHTS.read_text(encoding="utf-8").splitlines()
    assert [line for before, line in pairwise(lines) if line.startswith("  - apiGroups") and "# " not in before] == []


def test_each_deletion_is_checked(added: dict[Key, Json]) -> None:
    """For each kind that the role allows to delete, a policy for the controller's account fails closed."""
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(added, "ValidatingAdmissionPolicy")}
    bindings = [each["spec"] for each in of_kind(added, "ValidatingAdmissionPolicyBinding")]

    assert sorted(each["policyName"] for each in bindings) == sorted(policies)
    assert all(each["validationActions"] == ["Deny"] for each in bindings)
    checked = set()
    for spec in policies.values():
        assert spec["failurePolicy"] == "Fail"
        (condition,) = spec["matchConditions"]
        assert f"'system:serviceaccount:{NAMESPACE}:mooring-controller'" in condition["expression"]
        assert "preconditions.?uid" in spec["validations"][0]["expression"]
        assert all(each["message"] for each in spec["validations"])
        (rule,) = spec["matchConstraints"]["resourceRules"]
        assert rule["operations"] == ["DELETE"]
        checked |= {*rule["resources"]}
    assert checked == {"persistentvolumeclaims", "pods"}


def test_the_chart_restricts_it_to_the_release_namespace() -> None:
    """The namespace is part of the name of the service account."""
    assert NAMESPACE not in (CHART / "templates" / "release-on-node-loss.yaml").read_text(encoding="utf-8")
