"""A client and a worker as in life: two processes, of which the worker lacks the client's modules."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SEND = """

import pickle, sys
from lithops.prepare.bind import Binder
from lithops.prepare.modules import capture
from lithops.prepare.serialize import ArgumentSerializer, serialize_function
from lithops.wire.pickles import join

binder, serializer = Binder(function), ArgumentSerializer()
bodies = [join(serializer.dumps(binder.bind(each), i)) for i, each in enumerate(elements)]
body = serialize_function(function, modules_seen=serializer.modules_seen)
captured = capture(serializer.modules_seen, include=INCLUDE, exclude=EXCLUDE)
sent = (captured.names, captured.archive, captured.content_hash, body, bodies)
sys.stdout.buffer.write(pickle.dumps(sent))
"""

_WORK = """
import pickle, sys
from lithops.wire.pickles import load
from lithops.worker import modules

names, archive, content_hash, body, bodies = pickle.load(sys.stdin.buffer)
if archive is not None:
    modules.install(archive, content_hash, parent_folder=sys.argv[1])
function = pickle.loads(body)
results = [function(*args, **kwargs) for args, kwargs in map(load, bodies)]
sys.stdout.buffer.write(pickle.dumps(results))
"""


def round_trip(
    folder: Path,
    script: str,
    *,
    module: str = "main",
    include: Sequence[str] | None = (),
    exclude: Sequence[str] = (),
) -> tuple[tuple[str, ...], list[Any]]:
    """Run `script` in `folder` as a client that defines `function` and `elements`, and a worker.

    Gives the names of the modules that were sent, and the results, which must be of builtin types. With a
    dotted `module`, the script is run as that module of a package.
    """
    path = folder.joinpath(*module.split(".")).with_suffix(".py")
    path.write_text(script + _SEND.replace("INCLUDE", repr(include)).replace("EXCLUDE", repr(exclude)))
    command = [str(path)] if "." not in module else ["-m", module]
    sent = _run(command, folder, b"")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    results = _run(["-I", "-c", _WORK, str(elsewhere / "modules")], elsewhere, sent)
    return pickle.loads(sent)[0], pickle.loads(results)


class WorkFailedError(Exception):
    """The client or the worker failed: its text is what it wrote to its standard error."""


def _run(arguments: list[str], folder: Path, given: bytes) -> bytes:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, input=given, capture_output=True, timeout=60, check=False
    )
    if done.returncode:
        raise WorkFailedError(done.stderr.decode())
    return done.stdout
