"""What futures call when something happens to their calls."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any


class WhenStarted:
    """A callback that does not wait for the call's end."""

    def __init__(self, callback: Callable[[Any], None]) -> None:
        self._callback = callback

    def __call__(self, future: Any) -> None:
        self._callback(future)


def await_result(future: Any) -> Generator[Any, None, Any]:
    """Wait for a call in an event loop, and give its result."""
    import asyncio  # only where it is in use already: it takes as long to import as all the rest

    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def wake() -> None:
        if not ended.done():
            ended.set_result(None)

    def tell(_: Any) -> None:
        loop.call_soon_threadsafe(wake)

    future.add_done_callback(tell)
    try:
        yield from ended
    finally:
        # Whoever waited may have been cancelled, and the loop closed.
        future.remove_done_callback(tell)
    # Reading a stored result may take a while, and the loop has other things to do.
    return (yield from loop.run_in_executor(None, future.result))
