"""Where processes of the tests leave word for each other: files, and where they have none in common, the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Place:
    """As much of a `pathlib.Path` as the tests need, in the server of the program's shared objects.

    By plain commands: what is tested does not tell of itself.
    """

    def __init__(self, server: Any, key: str) -> None:
        self._server = server
        self._key = key

    @property
    def name(self) -> str:
        return self._key.rpartition("/")[2]

    def __truediv__(self, name: str) -> Place:
        return Place(self._server, f"{self._key}/{name}")

    def with_name(self, name: str) -> Place:
        return Place(self._server, f"{self._key.rpartition('/')[0]}/{name}")

    def exists(self) -> bool:
        return bool(self._run("EXISTS", self._key))

    def read_text(self) -> str:
        found = self._run("GET", self._key)
        if found is None:
            raise FileNotFoundError(self._key)
        return str(found.decode())

    def write_text(self, text: str) -> None:
        self._run("SET", self._key, text, "PX", 600_000)

    def touch(self) -> None:
        self.write_text("")

    def replace(self, other: Place) -> None:
        self._run("RENAME", self._key, other._key)

    def iterdir(self) -> list[Place]:
        return [Place(self._server, key.decode()) for key in self._run("KEYS", f"{self._key}/*")]

    def _run(self, *command: Any) -> Any:
        # Later: processes of the standard library import this module and not that.
        from lithops.shared.session import session_for

        return session_for(self._server).run(*command)


AnyPlace = Path | Place
"""What processes are told."""
