"""How long a storage is waited for, and how often it is asked again: one rule, where an SDK leaves it to us."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from lithops.exceptions import StorageUnavailable

CONNECT_S = 5.0
READ_S = 30.0
"""Between two bytes of an answer."""
ATTEMPTS = 8
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0

T = TypeVar("T")


def pause_s(failures: int) -> float:
    """The seconds to wait after so many failures: at random below a bound that doubles with each."""
    return random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (failures - 1)))


def _is_unavailable(error: Exception) -> bool:
    return isinstance(error, StorageUnavailable)


def persistently(attempt: Callable[[], T], may_pass: Callable[[Exception], bool] = _is_unavailable) -> T:
    """What `attempt` gives or raises, once that is not an error that may pass; that error, after the last attempt."""
    for failures in range(1, ATTEMPTS):
        try:
            return attempt()
        except Exception as error:
            if not may_pass(error):
                raise
        time.sleep(pause_s(failures))
    return attempt()
