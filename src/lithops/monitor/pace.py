"""How often to look for statuses in a storage, where every look costs money. Pure."""

from __future__ import annotations

_SHORTEST_S = 0.05
_RESTING_S = 0.12
"""While nothing comes: what is committed then is found after half of it at the median."""
_OF_THE_SILENCE = 0.08
"""After a long silence a look that comes late by this part of it is early enough."""
_WORTH_A_LOOK = 20
"""So many statuses should share the cost of a look."""


class Pace:
    """Looks follow each other the faster, the more statuses each of them finds."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._looked_at = self._news_at = 0.0
        self.due = 0.0
        """When to look next."""

    def start(self, now: float) -> None:
        """Something is expected again."""
        self._news_at = self._looked_at = now
        self.due = now + min(_SHORTEST_S, self._longest_s)

    def looked(self, now: float, found: int) -> None:
        """A look has found so many statuses."""
        if found:
            pause_s = max(_SHORTEST_S, min(_WORTH_A_LOOK * (now - self._looked_at) / found, _RESTING_S))
            self._news_at = now
        else:
            pause_s = max(_RESTING_S, _OF_THE_SILENCE * (now - self._news_at))
        self._looked_at = now
        self.due = now + min(pause_s, self._longest_s)
