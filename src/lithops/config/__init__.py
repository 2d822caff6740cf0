"""The configuration: where it is found, what it may say, and what it comes to."""

from __future__ import annotations

from lithops.config.check import check_section
from lithops.config.loader import default_config, load_config, resolve, resolve_storage
from lithops.config.logs import setup_lithops_logger
from lithops.config.model import LithopsSection, Settings

__all__ = [
    "LithopsSection",
    "Settings",
    "check_section",
    "default_config",
    "load_config",
    "resolve",
    "resolve_storage",
    "setup_lithops_logger",
]
