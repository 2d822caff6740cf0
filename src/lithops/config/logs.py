"""The `lithops` logger: set up when an executor is made, never by an import."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any, TextIO

from lithops.config.model import LOG_FORMAT, LOG_LEVELS
from lithops.exceptions import ConfigError

DEFAULT_STREAM = "ext://sys.stderr"
_HANDLER_NAME = "lithops"
_PREFIX = "ext://"


def setup_lithops_logger(
    log_level: str | int | None = "INFO",
    log_format: str | None = None,
    stream: str | TextIO | None = None,
    filename: str | None = None,
) -> None:
    """Show the log of this library, from `log_level` up, on a stream or in a file.

    `log_level` is a level's name or number; None leaves logging alone. `stream` is an open text stream, or
    ``ext://`` and the name of one, which is looked up at each message: a replaced `sys.stderr` is respected.
    A `filename` wins over the stream. Called again, it replaces what it did before. Raises `ConfigError`.
    """
    if log_level is None:
        return
    level = _level(log_level)
    formatter = _formatter(log_format or LOG_FORMAT)
    handler = _file_handler(filename) if filename else _StreamHandler(stream or DEFAULT_STREAM)
    handler.setFormatter(formatter)
    handler.set_name(_HANDLER_NAME)
    logger = logging.getLogger("lithops")
    for earlier in [each for each in logger.handlers if each.get_name() == _HANDLER_NAME]:
        logger.removeHandler(earlier)
        earlier.close()
    logger.addHandler(handler)
    logger.setLevel(level)
    # The root's handlers would show each message a second time.
    logger.propagate = False


class _StreamHandler(logging.Handler):
    """Writes to a stream that may be given by its name."""

    def __init__(self, stream: str | TextIO) -> None:
        super().__init__()
        self._stream = stream
        if isinstance(stream, str):
            _find_stream(stream)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = _find_stream(self._stream) if isinstance(self._stream, str) else self._stream
            stream.write(f"{self.format(record)}\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - a message that cannot be written must not end the program
            self.handleError(record)


def _find_stream(name: str) -> Any:
    module, _, attribute = name.removeprefix(_PREFIX).rpartition(".")
    try:
        if not name.startswith(_PREFIX):
            raise ValueError(name)
        return getattr(import_module(module), attribute)
    except (ValueError, ImportError, AttributeError) as error:
        raise ConfigError(
            f"lithops.log_stream: there is no stream '{name}'; allowed are 'ext://sys.stderr', "
            "'ext://sys.stdout' and other names of that form"
        ) from error


def _file_handler(filename: str) -> logging.Handler:
    path = os.path.expanduser(filename)
    try:
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"lithops.log_filename: cannot write to '{path}': {error.strerror}; "
            "name a file in a folder that exists"
        ) from error


def _level(level: str | int) -> int:
    number = level if isinstance(level, int) else logging.getLevelName(level.upper())
    if isinstance(number, int):
        return number
    raise ConfigError(f"lithops.log_level: there is no level '{level}'; allowed are {', '.join(LOG_LEVELS)}")


def _formatter(log_format: str) -> logging.Formatter:
    try:
        formatter = logging.Formatter(log_format)
        formatter.format(logging.makeLogRecord({"msg": "", "levelname": "INFO"}))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"lithops.log_format: '{log_format}' is not a format of the logging module: {error}; "
            f"the default is '{LOG_FORMAT}'"
        ) from error
    return formatter
