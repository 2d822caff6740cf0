"""What a peer is: one way to run functions in worker processes, behind the same few verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Function = Callable[[Any], Any]
"""A function of one argument."""


class Peer(Protocol):
    """Runs functions in worker processes. Each measurement makes a new one, in a process of its own."""

    name: str
    """As `--only` takes it."""
    title: str
    """The head of its column."""
    distribution: str | None
    """The installed distribution whose version is shown; `None` for the standard library."""
    environment: str
    """The virtual environment that has it."""
    import_statement: str
    """What a program must import to use it."""
    first_result: str
    """A whole program for ``python -c``: two workers, one no-op, its result printed, a clean end."""

    def start(self, workers: int) -> None:
        """Start it with this many worker processes."""
        ...

    def map(self, function: Function, arguments: Sequence[Any]) -> Any:
        """Send one call an argument, none grouped with another by hand, and give what `gather` takes.

        What is given holds a future of every call, where the peer has futures.
        """
        ...

    def gather(self, calls: Any) -> list[Any]:
        """Wait for the calls of one `map`: their results, in order."""
        ...

    def call(self, function: Function, argument: Any) -> Any:
        """One call: its result."""
        ...

    def completions(self, function: Function, arguments: Sequence[Any]) -> Iterator[Any]:
        """Send one call an argument, and give the results as they arrive."""
        ...

    def stop(self) -> None:
        """Stop everything that `start` started."""
        ...
