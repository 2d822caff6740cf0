"""Count the words of a folder: one call for each part of each file, and one reducer that adds them up.

    python examples/word_count.py [FOLDER] [--chunk-size BYTES] [--check]

Without a folder, it reads the source of Python's own standard library. A word is a run of the letters a to z. The
functions of a cloud cannot reach the folder: they read copies of its files in the object storage.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import sysconfig
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import lithops

if TYPE_CHECKING:
    from lithops.worker.data import DataObject

TEXT = (".md", ".py", ".rst", ".txt")


def count_words(data: bytes) -> Counter[bytes]:
    return Counter(re.findall(rb"[a-z]+", data.lower()))


def count_part(obj: DataObject) -> Counter[bytes]:
    """One call: `obj` is a part of one file, cut between two lines so that no word is torn."""
    return count_words(obj.data_stream.read())


def add_up(counts: list[Counter[bytes]]) -> Counter[bytes]:
    """The reducer."""
    total: Counter[bytes] = Counter()
    for each in counts:
        total.update(each)
    return total


def text_files(folder: Path) -> list[Path]:
    """The text files of a folder, without the packages that are installed in it."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder.resolve()):
        folders[:] = sorted({*folders} - {"site-packages", "dist-packages"})
        found += [Path(parent, name) for name in sorted(names) if name.endswith(TEXT)]
    return [path for path in found if path.is_file()]


def upload(files: list[Path], storage: lithops.Storage) -> list[str]:
    """Copy the files into the object storage; gives the names of the copies."""
    keys = [f"word-count/{number:05d}{path.suffix}" for number, path in enumerate(files)]
    with ThreadPoolExecutor(16) as threads:
        copied = threads.map(
            lambda path, key: storage.upload_file(str(path), storage.bucket, key), files, keys
        )
        if not all(copied):
            raise OSError("some files could not be copied into the object storage; the log says why")
    return [f"{storage.bucket}/{key}" for key in keys]


def main() -> int:
    parser = argparse.ArgumentParser(description="Count the words of a folder.")
    parser.add_argument("folder", type=Path, nargs="?", default=sysconfig.get_path("stdlib"))
    parser.add_argument("--chunk-size", type=int, default=1 << 18, metavar="BYTES", help="the largest part")
    parser.add_argument("--check", action="store_true", help="count again with a plain loop, and compare")
    args = parser.parse_args()
    files = text_files(args.folder)
    if not files:
        parser.error(f"there is no text in {args.folder}: files that end in {', '.join(TEXT)}")

    started = time.perf_counter()
    with lithops.FunctionExecutor(log_level="WARNING") as fexec:
        copies = [] if fexec.backend == "localhost" else upload(files, fexec.storage)
        futures = fexec.map_reduce(count_part, copies or files, add_up, obj_chunk_size=args.chunk_size)
        words: Counter[bytes] = fexec.get_result(futures)
        if copies:
            fexec.storage.delete_objects(fexec.storage.bucket, [name.partition("/")[2] for name in copies])
    elapsed_s = time.perf_counter() - started

    for word, count in words.most_common(10):
        print(f"  {word.decode():<12} {count:>10,}  {count / words.total():>6.2%}")
    size_bytes = sum(path.stat().st_size for path in files)
    print(
        f"{words.total():,} words, {len(words):,} of them distinct, in {len(files):,} files of {size_bytes:,} bytes"
    )
    print(f"{len(futures):,} calls in {elapsed_s:.2f} s")
    if args.check and words != add_up([count_words(path.read_bytes()) for path in files]):
        print("the check failed: a plain loop counts other words", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
