"""Views that follow a cache are equal to views of its present objects."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provisioner.kube.cache import Caches
from provisioner.model.claim import Claim
from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import CLAIM
from provisioner.observe.live_views import claims_in
from tests.unit.provisioner.controllers.objects import claim

NAMES, NAMESPACES = ("a", "b", "c"), ("one", "two")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "break", "remove", "read"]),
        st.sampled_from(NAMESPACES),
        st.sampled_from(NAMES),
        st.integers(min_value=0, max_value=9),
    ),
    max_size=25,
)


def _fresh(obj: Any) -> Claim | None:
    try:
        return Claim.of(obj)
    except InvalidObjectError:
        return None


@given(STEPS, st.booleans())
def test_views_are_those_of_the_present_objects(steps: list[tuple[str, str, str, int]], early: bool) -> None:
    """
    Objects are added, changed, made invalid and removed, before and after the first read.

    Invalid ones have no view.
    """
    caches = Caches()
    if early:
        claims_in(caches)
    for action, namespace, name, number in steps:
        if action in ("put", "break"):
            obj = claim(uid=str(number))
            obj["metadata"] |= {"name": name, "namespace": namespace}
            if action == "break":
                obj["spec"]["resources"] = "none"
            caches[CLAIM].put(obj)
        elif action == "remove":
            caches[CLAIM].remove((namespace, name))
        views = claims_in(caches)
        for space in NAMESPACES:
            expected = [_fresh(each) for each in caches[CLAIM].all(space)]
            by_name = [each for each in expected if each]
            if action != "put":  # so that some change before the first read
                assert sorted(views.all(space), key=lambda each: each.name) == sorted(
                    by_name, key=lambda each: each.name
                )
                assert views.get("absent", space) is None
