"""
Reviews of a client's own identity and rights. Every client with the token may do everything.

Source: Kubernetes API reference, groups authentication.k8s.io and authorization.k8s.io.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from provisioner.embedded.apiserver.http import queries, responses
from provisioner.model.kinds import Json

USER: Final = "mooring"
GROUPS: Final = ("system:masters", "system:authenticated")
_WHY: Final = "every client with the engine's token may do everything"


@dataclass(frozen=True, slots=True)
class Review:
    """One review: its kind, its path, and the function that returns its status."""

    group: str
    kind: str
    plural: str
    answer: Callable[[], Json]

    @property
    def api_version(self) -> str:
        """The group and version."""
        return f"{self.group}/v1"

    @property
    def path(self) -> str:
        """The path to POST to."""
        return f"/apis/{self.api_version}/{self.plural}"

    async def handle(self, request: web.Request) -> web.Response:
        """Handle POST: return the review with its status."""
        review = queries.as_object(await queries.body(request))
        answered: Json = {"kind": self.kind, "apiVersion": self.api_version, "metadata": {}}
        if "spec" in review:
            answered["spec"] = review["spec"]
        return responses.json(answered | {"status": self.answer()}, status=201)


def _allowed() -> Json:
    return {"allowed": True, "reason": _WHY}


def _rules() -> Json:
    return {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }


def _self() -> Json:
    return {"userInfo": {"username": USER, "groups": list(GROUPS)}}


REVIEWS: Final = (
    Review("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", _self),
    Review("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", _allowed),
    Review("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews", _rules),
)
