"""Who may run, and where: the concurrency of an account, the sandboxes of its functions, and the queues of events."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aws_images import Container
from aws_sandbox import Invocation, Log, Outcome, Sandbox, Spec

_LOOK_S = 0.03


@dataclass
class Settings:
    """What a test may change while the service runs."""

    concurrency: int = 1000
    """How many invocations of the account may run at once."""
    burst: int = 1000
    burst_every_s: float = 10.0
    """So many new sandboxes may start in so much time."""
    processes: int = 12
    """How many sandboxes this machine bears. An invocation that is allowed, and finds no room, waits as for a slow
    cold start."""
    rerun_delay_s: float = 0.2
    """AWS waits a minute before the first re-run of a failed event, and two before the second."""
    duplicates: float = 0.0
    """The part of events that are delivered twice."""
    refuse_rate: float = 0.0
    refuse_for_s: float = 0.0
    refuse_with: list[int] = field(default_factory=lambda: [429])
    """A storm: this part of invocations is refused, for so long, with one of these statuses."""
    drop_replies: int = 0
    """The connections of so many invocations break when their answer is due."""
    denied: list[str] = field(default_factory=list)
    """Actions that no identity may take."""
    pending_s: float = 0.2
    """How long a function is Pending after it was made, or its update in progress."""
    role_delay_s: float = 0.2
    """How long a new role cannot be assumed."""
    seed: int = 0
    role_environment: dict[str, str] = field(default_factory=dict)
    """The credentials of the role, as the sandboxes find them."""
    images: dict[str, str] = field(default_factory=dict)
    """Folders that hold what is in the task root of container images, by a part of their URIs."""
    engine: bool = False
    """Images are pulled and run by the container engine that `docker` finds, and not out of folders."""
    record: str = ""
    """A file to which the bodies of all requests are appended."""


class TooMany(Exception):
    """The account, or the function, may run no more. The argument says which limit it is."""


@dataclass
class Function:
    """The running side of a function: its sandboxes and its events."""

    spec: Spec
    reserved: int | None = None
    reruns: int = 2
    busy: int = 0
    idle: list[Sandbox] = field(default_factory=list)
    live: set[Sandbox] = field(default_factory=set)
    admitted: deque[Invocation] = field(default_factory=deque)
    """Invocations with somebody waiting for their end, that no sandbox has taken yet."""
    events: deque[Invocation] = field(default_factory=deque)


class Account:
    """Starts, reuses and ends sandboxes. All its state is under one lock."""

    def __init__(self, settings: Settings, python: Path, folder: Path, log: Log) -> None:
        self.settings = settings
        self.counts = {
            "invocations": 0,
            "cold": 0,
            "refused": 0,
            "reruns": 0,
            "duplicates": 0,
            "most_busy": 0,
        }
        self._python = python
        self._folder = folder
        self._log = log
        self._lock = threading.RLock()
        self._functions: list[Function] = []
        self._sandboxes: set[Sandbox] = set()
        """All whose processes have not ended, those of deleted functions too."""
        self._closed = False
        self._random = random.Random(settings.seed)
        self._tokens = float(settings.burst)
        self._filled_at = time.monotonic()
        self._numbers = itertools.count(1)
        threading.Thread(target=self._watch, daemon=True, name="watch").start()

    def add(self, spec: Spec) -> Function:
        with self._lock:
            function = Function(spec)
            self._functions.append(function)
            return function

    def replace(self, function: Function, spec: Spec) -> None:
        """Sandboxes of the old code or configuration end when they are idle."""
        with self._lock:
            function.spec = spec
            self._retire(function)

    def remove(self, function: Function) -> None:
        with self._lock:
            self._functions.remove(function)
            function.events.clear()
            self._retire(function)

    def recycle(self) -> None:
        """End all idle sandboxes: what comes next starts cold."""
        with self._lock:
            for function in self._functions:
                self._retire(function)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            sandboxes = [*self._sandboxes]
            for function in self._functions:
                function.events.clear()
                function.admitted.clear()
        for sandbox in sandboxes:
            sandbox.kill("close")

    def invoke(self, function: Function, invocation: Invocation) -> None:
        """Run it now. Raises `TooMany`."""
        with self._lock:
            self._admit(function)
            function.admitted.append(invocation)
            self._dispatch(function)

    def submit(self, function: Function, request_id: str, payload: bytes) -> None:
        """Run it when there is room; twice, now and then."""
        twice = self._random.random() < self.settings.duplicates
        with self._lock:
            function.events.append(self._event(function, request_id, payload, 0))
            if twice:
                self.counts["duplicates"] += 1
                function.events.append(self._event(function, request_id, payload, 0))
            self._dispatch(function)

    # ---------------------------------------------------------------- admission

    def _running(self) -> int:
        return sum(each.busy for each in self._functions)

    def _admit(self, function: Function) -> None:
        if function.reserved is not None and function.busy >= function.reserved:
            raise TooMany("ReservedFunctionConcurrentInvocationLimitExceeded")
        if self._running() >= self.settings.concurrency:
            raise TooMany("ConcurrentInvocationLimitExceeded")
        if len(function.live) <= function.busy and not self._may_start():
            raise TooMany("ConcurrentInvocationLimitExceeded")
        function.busy += 1
        self.counts["most_busy"] = max(self.counts["most_busy"], self._running())

    def _may_start(self) -> bool:
        settings, now = self.settings, time.monotonic()
        gained = (now - self._filled_at) * settings.burst / settings.burst_every_s
        self._filled_at, self._tokens = now, min(settings.burst, self._tokens + gained)
        return self._tokens >= 1

    def _room(self) -> bool:
        """A process more, or in the place of an idle one of another function."""
        live = [each for each in self._functions if each.live]
        if sum(len(each.live) for each in live) < self.settings.processes:
            return True
        for each in live:
            if each.idle:
                self._end(each, each.idle.pop(0))
                return True
        return False

    def _dispatch(self, function: Function) -> None:
        while (function.admitted or function.events) and not self._closed:
            if not function.idle and not (self._may_start() and self._room()):
                return
            if function.admitted:
                invocation = function.admitted.popleft()
            else:
                try:
                    self._admit(function)
                except TooMany:
                    return
                invocation = function.events.popleft()
            self.counts["invocations"] += 1
            sandbox = function.idle.pop() if function.idle else self._start(function)
            sandbox.run(invocation)

    # ---------------------------------------------------------------- sandboxes

    def _start(self, function: Function) -> Sandbox:
        self._tokens -= 1
        self.counts["cold"] += 1
        kind = Container if function.spec.image else Sandbox
        sandbox = kind(
            function.spec,
            self._python,
            self._folder / f"{next(self._numbers):05d}",
            self._log,
            idle=lambda sandbox: self._on_idle(function, sandbox),
            dead=lambda sandbox: self._on_dead(function, sandbox),
        )
        function.live.add(sandbox)
        self._sandboxes.add(sandbox)
        return sandbox

    def _on_idle(self, function: Function, sandbox: Sandbox) -> None:
        with self._lock:
            function.busy -= 1
            if function.spec is not sandbox.spec or function not in self._functions:
                self._end(function, sandbox)
            else:
                function.idle.append(sandbox)
            self._dispatch_all(function)

    def _on_dead(self, function: Function, sandbox: Sandbox) -> None:
        with self._lock:
            self._sandboxes.discard(sandbox)
            if sandbox in function.idle:
                function.idle.remove(sandbox)
            elif sandbox in function.live:
                function.busy -= 1
            function.live.discard(sandbox)
            self._dispatch_all(function)

    def _dispatch_all(self, first: Function) -> None:
        for function in (first, *self._functions):
            self._dispatch(function)

    def _retire(self, function: Function) -> None:
        while function.idle:
            self._end(function, function.idle.pop())

    def _end(self, function: Function, sandbox: Sandbox) -> None:
        function.live.discard(sandbox)
        sandbox.kill("close")

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                busy = [each for one in self._functions for each in one.live if each not in one.idle]
                if any(each.admitted or each.events for each in self._functions):
                    self._dispatch_all(self._functions[0])
            now = time.monotonic()
            for sandbox in busy:
                sandbox.look(now)

    # ---------------------------------------------------------------- events

    def _event(self, function: Function, request_id: str, payload: bytes, attempts: int) -> Invocation:
        def end(outcome: Outcome) -> None:
            if outcome.error and attempts < function.reruns:
                again = self._event(function, request_id, payload, attempts + 1)
                self._later(
                    self.settings.rerun_delay_s * (attempts + 1), lambda: self._rerun(function, again)
                )

        return Invocation(request_id, payload, end, attempts)

    def _rerun(self, function: Function, invocation: Invocation) -> None:
        with self._lock:
            if function in self._functions:
                self.counts["reruns"] += 1
                function.events.append(invocation)
                self._dispatch(function)

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(delay_s, action)
        timer.daemon = True
        timer.start()
