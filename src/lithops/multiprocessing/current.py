"""What surrounds the process that runs here: the server of its program, and those modules that are where it is."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from lithops.shared.server import VARIABLE, Server
from lithops.shared.session import Session, session_for


def current_session() -> Session:
    """Where new objects go: the server of the program that this process belongs to."""
    text = os.environ.get(VARIABLE)
    if text:
        return session_for(Server.from_text(text))
    session: Session = load("program").session()
    return session


def load(module: str) -> Any:
    """A module of this package that a program has. Functions of a cloud have not all of them."""
    try:
        return import_module(f"lithops.multiprocessing.{module}")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("lithops."):
            raise
        raise NotImplementedError(
            f"functions of a cloud start no processes, pools or servers of their own ({module}): start them in the "
            "program that started this function, and pass what they share"
        ) from error
