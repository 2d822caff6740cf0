"""What processes of the tests print. It goes along to a cloud, and imports little."""

from __future__ import annotations

import logging
import os
import sys

from places import AnyPlace
from process_functions import wait_for, write


def say(*words: str) -> None:
    for word in words:
        print(word)
    sys.stderr.write("to stderr\n")
    logging.getLogger("mine").warning("logged")
    os.system("echo from a program")


def say_and_wait(word: str, path: AnyPlace) -> None:
    print(word)
    print("no end of line", end="", flush=True)
    wait_for(path)


def say_and_fail() -> None:
    print("said")
    raise ValueError("no luck")


def say_and_die() -> None:
    print("said")
    os._exit(4)


def get_variable(name: str, path: AnyPlace) -> None:
    write(path, os.environ.get(name, "none"))
