"""Where programs of 3.x find these names."""

from lithops.config.logs import setup_lithops_logger
from lithops.future import FuturesList

__all__ = ["FuturesList", "setup_lithops_logger"]
