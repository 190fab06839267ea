"""
Options of lists and watches: resourceVersion, limit, continue and initial events.

Sources: Kubernetes API concepts, "Resource versions" and "Streaming lists"; ValidateListOptions of k8s.io/apimachinery,
pkg/apis/meta/internalversion/validation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.embedded.apiserver.http import queries
from provisioner.embedded.apiserver.store import errors
from provisioner.embedded.apiserver.store.problems import Problem, forbidden, unsupported

NOT_OLDER: Final = "NotOlderThan"
EXACT: Final = "Exact"


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The requested options; `version` 0 means any, None the newest; `initial` is None if not specified."""

    version: int | None
    match: str
    limit: int
    token: str
    watch: bool
    initial: bool | None

    @property
    def exactly(self) -> int | None:
        """The exact version that a list must have; a limit with a version implies it."""
        if self.version and (self.match == EXACT or (self.limit and not self.match)):
            return self.version
        return None


def read(query: Mapping[str, str]) -> ListOptions:
    """Read and check the options; raise StatusError: 400 if one is malformed, 422 if they conflict."""
    initial_events = query.get("sendInitialEvents", "")
    options = ListOptions(
        version=queries.number(query, "resourceVersion"),
        match=query.get("resourceVersionMatch", ""),
        limit=queries.number(query, "limit") or 0,
        token=query.get("continue", ""),
        watch=queries.flag(query, "watch"),
        initial=queries.flag(query, "sendInitialEvents") if initial_events else None,
    )
    found = list(_watch_problems(options) if options.watch else _list_problems(options))
    if found:
        texts = [str(each) for each in found]
        text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        details = {
            "group": "meta.k8s.io",
            "kind": "ListOptions",
            "causes": [each.cause() for each in found],
        }
        raise errors.StatusError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {text}', details)
    return options


def _list_problems(options: ListOptions) -> Iterator[Problem]:
    field = "resourceVersionMatch"
    if options.initial is not None:
        yield forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if not options.match:
        return
    if options.version is None:
        yield forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")
    if options.token:
        yield forbidden(field, "resourceVersionMatch is forbidden when continue is provided")
    if options.match not in (EXACT, NOT_OLDER):
        yield unsupported(field, options.match, (EXACT, NOT_OLDER))
    if options.match == EXACT and options.version == 0:
        yield forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def _watch_problems(options: ListOptions) -> Iterator[Problem]:
    field = "resourceVersionMatch"
    if options.initial is None:
        if options.match:
            yield forbidden(field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    elif options.match != NOT_OLDER:
        yield forbidden(field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
