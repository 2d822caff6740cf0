"""Where programs of 3.x find these names."""

from lithops.config.logs import setup_lithops_logger
from lithops.futures_list import FuturesList

__all__ = ["FuturesList", "setup_lithops_logger"]
