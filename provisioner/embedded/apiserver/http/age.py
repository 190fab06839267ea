"""
Ages and durations in the short form that `kubectl get` prints.

Source: k8s.io/apimachinery, pkg/util/duration (HumanDuration).
"""

import datetime as dt
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_YEAR: Final = 365 * _DAY


def age(since: str | None, *, now: dt.datetime | None = None) -> str:
    """Return the time since an API timestamp in kubectl's short form; `<unknown>` without a timestamp."""
    if not since:
        return "<unknown>"
    moment = dt.datetime.fromisoformat(since)
    return human(((now or dt.datetime.now(dt.UTC)) - moment).total_seconds())


def human(seconds: float) -> str:
    """Return a duration in seconds with at most two units; longer durations have coarser units."""
    if seconds < -1:
        return "<invalid>"
    whole = max(int(seconds), 0)
    for limit, large, small, with_small in _STEPS:
        if whole < limit:
            count, rest = divmod(whole, large[1])
            return f"{count}{large[0]}" + (f"{rest // small[1]}{small[0]}" if with_small and rest >= small[1] else "")
    return f"{whole // _YEAR}y"


_S: Final = ("s", 1)
_M: Final = ("m", _MINUTE)
_H: Final = ("h", _HOUR)
_D: Final = ("d", _DAY)
_Y: Final = ("y", _YEAR)
_STEPS: Final = (
    (2 * _MINUTE, _S, _S, False),
    (10 * _MINUTE, _M, _S, True),
    (3 * _HOUR, _M, _S, False),
    (8 * _HOUR, _H, _M, True),
    (48 * _HOUR, _H, _M, False),
    (8 * _DAY, _D, _H, True),
    (2 * _YEAR, _D, _H, False),
    (8 * _YEAR, _Y, _D, True),
)
"""Upper limit in seconds, unit, next smaller unit, and whether the smaller unit is printed."""
