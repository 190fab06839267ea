"""
Field numbers of the protobuf messages that the server decodes.

Source: the generated.proto files of k8s.io/api and k8s.io/apimachinery, whose numbers never change.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Field:
    """
    One field: its name in JSON and its type, a scalar type or the name of a message.

    `keeps_zero` marks a field for which zero differs from absent.
    """

    name: str
    type: str = "string"
    repeated: bool = False
    keeps_zero: bool = False


Message = dict[int, Field]

_METADATA: Final = Field("metadata", "ObjectMeta")

ENVELOPE: Final[Message] = {
    1: Field("typeMeta", "TypeMeta"),
    2: Field("raw", "bytes"),
    3: Field("contentEncoding"),
    4: Field("contentType"),
}

ROOTS: Final = frozenset({
    "Namespace", "Service", "Scale", "DeleteOptions",
    "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SelfSubjectReview",
})  # fmt: skip
"""The kinds that can be decoded from protobuf."""

MESSAGES: Final[dict[str, Message]] = {
    "TypeMeta": {1: Field("apiVersion"), 2: Field("kind")},
    "ObjectMeta": {
        1: Field("name"),
        2: Field("generateName"),
        3: Field("namespace"),
        5: Field("uid"),
        6: Field("resourceVersion"),
        7: Field("generation", "int"),
        8: Field("creationTimestamp", "time"),
        11: Field("labels", "map"),
        12: Field("annotations", "map"),
        13: Field("ownerReferences", "OwnerReference", repeated=True),
        14: Field("finalizers", repeated=True),
    },
    "OwnerReference": {
        1: Field("kind"),
        3: Field("name"),
        4: Field("uid"),
        5: Field("apiVersion"),
        6: Field("controller", "bool", keeps_zero=True),
        7: Field("blockOwnerDeletion", "bool", keeps_zero=True),
    },
    "Namespace": {1: _METADATA, 2: Field("spec", "NamespaceSpec")},
    "NamespaceSpec": {1: Field("finalizers", repeated=True)},
    "Service": {1: _METADATA, 2: Field("spec", "ServiceSpec")},
    "ServiceSpec": {
        1: Field("ports", "ServicePort", repeated=True),
        2: Field("selector", "map"),
        3: Field("clusterIP"),
        4: Field("type"),
        5: Field("externalIPs", repeated=True),
        7: Field("sessionAffinity"),
        8: Field("loadBalancerIP"),
        9: Field("loadBalancerSourceRanges", repeated=True),
        10: Field("externalName"),
        11: Field("externalTrafficPolicy"),
        12: Field("healthCheckNodePort", "int"),
        13: Field("publishNotReadyAddresses", "bool"),
        14: Field("sessionAffinityConfig", "SessionAffinityConfig"),
        17: Field("ipFamilyPolicy"),
        18: Field("clusterIPs", repeated=True),
        19: Field("ipFamilies", repeated=True),
        20: Field("allocateLoadBalancerNodePorts", "bool", keeps_zero=True),
        21: Field("loadBalancerClass"),
        22: Field("internalTrafficPolicy"),
        23: Field("trafficDistribution"),
    },
    "ServicePort": {
        1: Field("name"),
        2: Field("protocol"),
        3: Field("port", "int"),
        4: Field("targetPort", "int-or-string"),
        5: Field("nodePort", "int"),
        6: Field("appProtocol"),
    },
    "SessionAffinityConfig": {1: Field("clientIP", "ClientIPConfig")},
    "ClientIPConfig": {1: Field("timeoutSeconds", "int", keeps_zero=True)},
    "Scale": {1: _METADATA, 2: Field("spec", "ScaleSpec"), 3: Field("status", "ScaleStatus")},
    "ScaleSpec": {1: Field("replicas", "int")},
    "ScaleStatus": {1: Field("replicas", "int"), 2: Field("selector")},
    "DeleteOptions": {
        1: Field("gracePeriodSeconds", "int", keeps_zero=True),
        2: Field("preconditions", "Preconditions"),
        3: Field("orphanDependents", "bool", keeps_zero=True),
        4: Field("propagationPolicy"),
        5: Field("dryRun", repeated=True),
    },
    "Preconditions": {1: Field("uid"), 2: Field("resourceVersion")},
    "SelfSubjectAccessReview": {1: _METADATA, 2: Field("spec", "SelfSubjectAccessReviewSpec")},
    "SelfSubjectAccessReviewSpec": {
        1: Field("resourceAttributes", "ResourceAttributes"),
        2: Field("nonResourceAttributes", "NonResourceAttributes"),
    },
    "ResourceAttributes": {
        1: Field("namespace"),
        2: Field("verb"),
        3: Field("group"),
        4: Field("version"),
        5: Field("resource"),
        6: Field("subresource"),
        7: Field("name"),
    },
    "NonResourceAttributes": {1: Field("path"), 2: Field("verb")},
    "SelfSubjectRulesReview": {1: _METADATA, 2: Field("spec", "SelfSubjectRulesReviewSpec")},
    "SelfSubjectRulesReviewSpec": {1: Field("namespace")},
    "SelfSubjectReview": {1: _METADATA},
}
