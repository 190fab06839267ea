"""The rights of controller and driver, and the reason for each."""

import re
from itertools import pairwise

import pytest
import yaml

from provisioner.model import kinds
from provisioner.model.kinds import Json
from tests import programs
from tests.unit.deploy.rendering import DEPLOY, NAMESPACE, container, of_kind, overlay

pytestmark = [pytest.mark.needs("kubectl"), pytest.mark.timeout(programs.BUILD_SECONDS)]

RBAC = [DEPLOY / "base" / "controller-rbac.yaml", DEPLOY / "helm" / "mooring" / "templates" / "controller-rbac.yaml"]
WATCHED = [
    kinds.CLAIM, kinds.VOLUME, kinds.NODE, kinds.NAMESPACE, kinds.POD, kinds.STATEFUL_SET, kinds.STORAGE_CLASS,
    kinds.ATTRIBUTES_CLASS,
]  # fmt: skip


def _rules(kind: str) -> list[Json]:
    return [rule for role in of_kind(overlay("upstream"), kind) for rule in role["rules"]]


@pytest.mark.parametrize("path", RBAC, ids=["base", "chart"])
def test_every_rule_has_a_reason(path: object) -> None:
    """The reason is a comment above the rule."""
    lines = RBAC[RBAC.index(path)].read_text(encoding="utf-8").splitlines()  # type: ignore[arg-type]

    bare = [line for before, line in pairwise(lines) if line.startswith("  - apiGroups") and "# " not in before]
    assert bare == []
    assert sum(line.startswith("  - apiGroups") for line in lines) == len(_rules("ClusterRole") + _rules("Role"))


def test_nothing_is_allowed_by_a_wildcard() -> None:
    """Groups, resources, verbs and names are listed."""
    for rule in _rules("ClusterRole") + _rules("Role"):
        assert "*" not in str(rule)
        assert not {"impersonate", "escalate", "bind", "deletecollection"} & {*rule["verbs"]}


def test_rights_that_allow_privilege_escalation_are_not_granted() -> None:
    """Examples are Secrets of others, creating pods, a node's proxy, and a claim's spec."""
    cluster = [(rule, resource) for rule in _rules("ClusterRole") for resource in rule["resources"]]

    assert not {"secrets", "configmaps", "pods/exec", "nodes/proxy", "serviceaccounts/token"} & {r for _, r in cluster}
    writes = {resource: {*rule["verbs"]} - {"get", "list", "watch"} for rule, resource in cluster}
    assert {resource: verbs for resource, verbs in writes.items() if verbs} == {
        "persistentvolumes": {"create", "patch", "delete"},
        "persistentvolumeclaims": {"patch"},
        "persistentvolumeclaims/status": {"patch"},
        "nodes": {"patch"},
        "events": {"create", "patch"},
    }


def test_rights_on_secrets_and_config_maps_are_restricted_to_names() -> None:
    """The exception is their creation, which RBAC cannot restrict to names."""
    for rule in _rules("Role"):
        if {"secrets", "configmaps", "leases"} & {*rule["resources"]} and rule["verbs"] != ["create"]:
            assert rule["resourceNames"]
            assert not {"list", "watch"} & {*rule["verbs"]}


def test_the_watches_of_the_reconcilers_are_allowed() -> None:
    """Each kind is allowed with get, list and watch."""
    allowed = {
        (group, resource): {*rule["verbs"]}
        for rule in _rules("ClusterRole")
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    for kind in WATCHED:
        assert {"get", "list", "watch"} <= allowed[kind.group, kind.plural], kind.name


def test_the_driver_has_no_credential() -> None:
    """No token is mounted in its pod, and no role is bound to its account."""
    objects = overlay("upstream")
    (pod,) = (each["spec"]["template"]["spec"] for each in of_kind(objects, "DaemonSet"))

    assert pod["automountServiceAccountToken"] is False
    assert objects["ServiceAccount", NAMESPACE, "mooring-driver"]["automountServiceAccountToken"] is False
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        subjects = [subject["name"] for each in of_kind(objects, kind) for subject in each["subjects"]]
        assert subjects == ["mooring-controller"]
    assert not any("projected" in volume or "secret" in volume for volume in pod["volumes"])


def test_the_controller_would_pass_the_restricted_pod_security_standard() -> None:
    """The namespace cannot enforce it because of the driver."""
    objects = overlay("upstream")
    (pod,) = (each["spec"]["template"]["spec"] for each in of_kind(objects, "Deployment"))
    security_context = container(objects, "Deployment")["securityContext"]

    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security_context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_only_the_controller_can_connect_to_the_drivers() -> None:
    """The drivers may open no connections."""
    policy = overlay("upstream")["NetworkPolicy", NAMESPACE, "mooring-driver"]["spec"]
    (rule,) = policy["ingress"]
    (peer,) = rule["from"]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "controller"
    assert "namespaceSelector" not in peer


def test_the_admission_policies_bind_the_controllers_account_and_fail_closed() -> None:
    """Each policy has a binding, and applies to the account of the Deployment."""
    objects = overlay("upstream")
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(objects, "ValidatingAdmissionPolicy")}
    bindings = [each["spec"] for each in of_kind(objects, "ValidatingAdmissionPolicyBinding")]
    account = next(of_kind(objects, "Deployment"))["spec"]["template"]["spec"]["serviceAccountName"]

    assert sorted(each["policyName"] for each in bindings) == sorted(policies)
    assert all(each["validationActions"] == ["Deny"] for each in bindings)
    for spec in policies.values():
        assert spec["failurePolicy"] == "Fail"
        (condition,) = spec["matchConditions"]
        assert f"'system:serviceaccount:{NAMESPACE}:{account}'" in condition["expression"]
        assert all(each["message"] for each in spec["validations"])


def test_the_chart_restricts_the_policies_to_the_release_namespace() -> None:
    """The namespace is part of the name of the service account."""
    text = (DEPLOY / "helm" / "mooring" / "templates" / "admission.yaml").read_text(encoding="utf-8")

    assert NAMESPACE not in text
    accounts = re.findall(r"system:serviceaccount:(.+?):mooring-controller", text)
    assert accounts == ["{{ .Release.Namespace }}"] * len(accounts) != []
    assert (
        yaml.safe_load((DEPLOY / "base" / "namespace.yaml").read_text(encoding="utf-8"))["metadata"]["name"]
        == NAMESPACE
    )
