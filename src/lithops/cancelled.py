"""The error of a call that was cancelled: see `lithops.exceptions`, where it is used from."""

from __future__ import annotations

from concurrent.futures import CancelledError

from lithops.exceptions import CallError


class CallCancelled(CallError, CancelledError):
    """The call was cancelled before it returned."""


# Where users find it, and where pickles look for it.
CallCancelled.__module__ = "lithops.exceptions"
