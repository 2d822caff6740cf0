"""As `multiprocessing.connection`: ends of pipes, listeners and clients, and waiting for several at once."""

from __future__ import annotations

from lithops.multiprocessing.handles import close_handles, handed_to
from lithops.multiprocessing.listed import Connection
from lithops.multiprocessing.listeners import Address, Client, Listener
from lithops.multiprocessing.pipes import Pipe
from lithops.multiprocessing.waiting import wait

__all__ = ["Client", "Listener", "Pipe", "wait", "Connection", "Address", "close_handles", "handed_to"]
