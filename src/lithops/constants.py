"""The folder in which this library keeps what it puts on the local disk.

It depends on the environment, which no import may read: it is worked out when it is asked for.
"""

from __future__ import annotations

LITHOPS_TEMP_DIR: str
"""One folder per user below the system's temporary folder. It is not made until something is put there."""


def __getattr__(name: str) -> str:
    if name == "LITHOPS_TEMP_DIR":
        return _temp_dir()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _temp_dir() -> str:
    import os
    import tempfile

    return os.path.join(tempfile.gettempdir(), f"lithops-{_user()}")


def _user() -> str:
    """The user's number where there is one: looking up its name may ask the network."""
    import os

    if hasattr(os, "getuid"):
        return str(os.getuid())
    import getpass

    return getpass.getuser()
