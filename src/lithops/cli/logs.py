"""`lithops logs`: what calls printed, as the executors of this machine keep it: one file for each job."""

from __future__ import annotations

import argparse
import codecs
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lithops.exceptions import LithopsError

if TYPE_CHECKING:
    from lithops.cli.options import Commands

_SUFFIX = ".log"
_POLL_INTERVAL_S = 0.5


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    group = commands.add_parser("logs", help="what calls printed").add_subparsers(
        metavar="COMMAND", required=True
    )
    get = group.add_parser(
        "get", parents=[common], help="show the log of a job, or list the jobs that have one"
    )
    get.add_argument("job_key", metavar="JOB_KEY", nargs="?", help="for example 3f9a1c-0-M000")
    get.set_defaults(run=run_get)
    poll = group.add_parser("poll", parents=[common], help="follow the logs of all jobs until Ctrl-C")
    poll.set_defaults(run=run_poll)


def run_get(arguments: argparse.Namespace) -> int:
    if arguments.job_key is None:
        for path in _newest_first():
            written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(path.stat().st_mtime))
            print(f"{written}  {path.stem}")
        return 0
    for chunk in _read(_find(arguments.job_key)):
        sys.stdout.write(chunk)
    return 0


def run_poll(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - every command takes them
    folder = log_folder()
    follower = Follower(folder)
    print(f"following the logs in {folder}; Ctrl-C ends it", file=sys.stderr, flush=True)
    shown = ""
    while True:
        for job_key, text in follower.read_new():
            if job_key != shown:
                print(f"==> {job_key} <==")
                shown = job_key
            sys.stdout.write(text)
        sys.stdout.flush()
        time.sleep(_POLL_INTERVAL_S)


def log_folder() -> Path:
    from lithops import constants

    return Path(constants.LITHOPS_TEMP_DIR) / "logs"


def remove_logs(*, before: float) -> int:
    """Delete the logs last written before this time (seconds of the epoch); gives how many there were."""
    old = [path for path in _newest_first() if path.stat().st_mtime <= before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


class Follower:
    """Reads what is added to the logs of a folder, from now on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._positions = {path: path.stat().st_size for path in folder.glob(f"*{_SUFFIX}")}
        self._decoders: dict[Path, codecs.IncrementalDecoder] = {}

    def read_new(self) -> Iterator[tuple[str, str]]:
        """A job's key and its new text, for each job that has some."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            # A character may be cut where the file ends for now.
            decoder = self._decoders.setdefault(path, codecs.getincrementaldecoder("utf-8")("replace"))
            text = decoder.decode(self._read_bytes(path))
            if text:
                yield path.stem, text

    def _read_bytes(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                file.seek(self._positions.get(path, 0))
                data = file.read()
                self._positions[path] = file.tell()
        except FileNotFoundError:
            # It was cleaned away meanwhile.
            return b""
        return data


def _newest_first() -> list[Path]:
    return sorted(log_folder().glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)


def _find(job_key: str) -> Path:
    paths = {path.stem: path for path in _newest_first()}
    if job_key in paths:
        return paths[job_key]
    from difflib import get_close_matches

    near = get_close_matches(job_key, paths, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise LithopsError(
        f"there is no log of a job '{job_key}'; {hint}'lithops logs get' alone lists the jobs that have one"
    )


def _read(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        while chunk := file.read(1 << 16):
            yield chunk
