"""Count the words in a folder of text: one call for each part of each file, one reducer that adds them up.

    python examples/word_count.py [FOLDER] [--chunk-size BYTES] [--check]

Without a folder, it reads the source of Python's own standard library. A word is a run of the letters a to z.
"""

from __future__ import annotations

import argparse
import re
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import lithops

if TYPE_CHECKING:
    from lithops.worker.data import DataObject

Words = Counter[bytes]
TEXT_SUFFIXES = {".md", ".py", ".rst", ".txt"}


def count_words(data: bytes) -> Words:
    return Counter(re.findall(rb"[a-z]+", data.lower()))


def count_part(obj: DataObject) -> Words:
    """One call: `obj` is a part of one file, cut between two lines so that no word is torn."""
    return count_words(obj.data_stream.read())


def add_up(counts: list[Words]) -> Words:
    """The reducer."""
    total: Words = Counter()
    for each in counts:
        total.update(each)
    return total


def text_files(folder: Path) -> list[Path]:
    """The text files below the folder, packages installed beside the standard library left out."""
    found = (path for path in folder.resolve().rglob("*") if path.suffix in TEXT_SUFFIXES and path.is_file())
    return sorted(path for path in found if "site-packages" not in path.parts)


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the words in a folder of text.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--chunk-size", type=int, default=1 << 18, metavar="BYTES", help="the largest part of a file")
    parser.add_argument("--check", action="store_true", help="count again with a plain loop, and compare")
    args = parser.parse_args()

    files = text_files(args.folder)
    started = time.perf_counter()
    with lithops.FunctionExecutor(log_level="WARNING") as fexec:
        futures = fexec.map_reduce(count_part, files, add_up, obj_chunk_size=args.chunk_size)
        words: Words = fexec.get_result(futures)
    seconds = time.perf_counter() - started

    for word, count in words.most_common(10):
        print(f"{count:>12,}  {word.decode()}")
    size_bytes = sum(path.stat().st_size for path in files)
    print(f"{words.total():,} words, {len(words):,} distinct, in {len(files):,} files of {size_bytes:,} bytes")
    print(f"{len(futures):,} calls in {seconds:.2f} s")
    if args.check and words != add_up([count_words(path.read_bytes()) for path in files]):
        print("the check failed: a plain loop counts other words", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
