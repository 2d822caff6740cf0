"""How often to look for statuses in a storage, where every look costs money. Pure."""

from __future__ import annotations

_SHORTEST_S = 0.05
_RESTING_S = 0.12
"""While nothing comes: what is committed then is found after half of it at the median."""
_OF_THE_SILENCE = 0.08
"""After a long silence a look that comes late by this part of it is early enough."""
_OF_A_LULL = 0.25
"""The same, after first results, and with no looks left."""
_WORTH_A_LOOK = 20
"""So many statuses pay for a look."""
_GIVEN = 15.0
"""So many looks nobody has to pay for, each time that something is expected again."""
_SMOOTHING = 0.3


class Pace:
    """Looks follow each other the faster, the more statuses each of them finds.

    A job of N calls may cost 20 + N / 20 looks and other requests, whatever the speed of its calls: looks are paid for
    by what is found. Those that are left over are spent on finding statuses sooner.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._looked_at = self._news_at = 0.0
        self._looks_left = _GIVEN
        self._per_second: float | None = None
        """How many statuses arrive in a second; None before the first."""
        self.due = 0.0
        """When to look next."""

    def start(self, now: float) -> None:
        """Something is expected again."""
        self._news_at = self._looked_at = now
        self._looks_left, self._per_second = _GIVEN, None
        self.due = now + min(_SHORTEST_S, self._longest_s)

    def looked(self, now: float, found: int) -> None:
        """A look has found so many statuses."""
        self._looks_left = min(_GIVEN, self._looks_left - 1 + found / _WORTH_A_LOOK)
        if found:
            latest = found / max(now - self._looked_at, _SHORTEST_S)
            before = latest if self._per_second is None else self._per_second
            self._per_second = before + _SMOOTHING * (latest - before)
            self._news_at = now
        self._looked_at = now
        self.due = now + min(self._pause_s(now - self._news_at), self._longest_s)

    def _pause_s(self, silence_s: float) -> float:
        if self._per_second is None:
            return max(_RESTING_S, _OF_THE_SILENCE * silence_s)
        until_worth_s = max(_SHORTEST_S, _WORTH_A_LOOK / self._per_second)
        if self._looks_left >= 1:
            return max(min(until_worth_s, _RESTING_S), _OF_THE_SILENCE * silence_s)
        return max(until_worth_s, _OF_A_LULL * silence_s)
