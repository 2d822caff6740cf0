"""Endless input with bounded memory: a job for each part of it, one under way while another is read."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lithops.exceptions import InvalidCall
from lithops.future import ResponseFuture
from lithops.prepare.bind import elements


def windows(
    submit: Callable[[list[Any]], list[ResponseFuture]], iterable: Iterable[Any], window: int
) -> Iterator[list[ResponseFuture]]:
    """Submit the elements in parts of half a window, and give each part's futures once the next is under way."""
    if window < 1:
        raise InvalidCall(f"window is {window!r}: it must be 1 or more")
    source = iter(elements(iterable))
    under_way: deque[list[ResponseFuture]] = deque()
    while part := list(itertools.islice(source, max(1, window // 2))):
        under_way.append(submit(part))
        if len(under_way) > 1:
            yield under_way.popleft()
    yield from under_way
