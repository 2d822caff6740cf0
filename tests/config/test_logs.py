"""The `lithops` logger after `setup_lithops_logger`."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lithops.config import setup_lithops_logger
from lithops.exceptions import ConfigError

logger = logging.getLogger("lithops")


@pytest.fixture(autouse=True)
def untouched_logger() -> Iterator[None]:
    """As before any set-up, and put back afterwards."""
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    yield
    for handler in logger.handlers:
        handler.close()
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)


def test_none_leaves_logging_alone() -> None:
    setup_lithops_logger(None)
    assert (logger.handlers, logger.propagate, logger.level) == ([], True, logging.NOTSET)


def test_each_message_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    root_stream = io.StringIO()
    root_handler = logging.StreamHandler(root_stream)
    logging.getLogger().addHandler(root_handler)
    try:
        setup_lithops_logger("INFO", "%(levelname)s %(name)s %(message)s")
        setup_lithops_logger("INFO", "%(levelname)s %(name)s %(message)s")
        logging.getLogger("lithops.part").info("once")
        logging.getLogger("lithops.part").debug("never")
    finally:
        logging.getLogger().removeHandler(root_handler)
    assert capsys.readouterr().err == "INFO lithops.part once\n"
    assert root_stream.getvalue() == ""
    assert len(logger.handlers) == 1


def test_the_second_call_replaces_the_first_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    users_own = logging.NullHandler()
    logger.addHandler(users_own)
    setup_lithops_logger("DEBUG", "first %(message)s")
    setup_lithops_logger("WARNING", "second %(message)s")
    logger.info("below")
    logger.warning("above")
    assert capsys.readouterr().err == "second above\n"
    assert users_own in logger.handlers


def test_streams_are_looked_up_at_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    setup_lithops_logger("INFO", "%(message)s", "ext://sys.stdout")
    for text in ("one", "two"):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)
        logger.info(text)
        assert stream.getvalue() == f"{text}\n"


def test_an_open_stream() -> None:
    stream = io.StringIO()
    setup_lithops_logger(logging.INFO, "%(message)s", stream)
    logger.info("hello")
    assert stream.getvalue() == "hello\n"


def test_a_file_wins_over_the_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lithops.log"
    setup_lithops_logger("info", "%(message)s", filename=str(file))
    logger.info("héllo")
    assert file.read_text(encoding="utf-8") == "héllo\n"
    assert capsys.readouterr().err == ""


def test_the_default_format(capsys: pytest.CaptureFixture[str]) -> None:
    setup_lithops_logger()
    logger.info("hello")
    assert capsys.readouterr().err.endswith(" [INFO] lithops -- hello\n")


def test_a_closed_stream_does_not_end_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    setup_lithops_logger("INFO", "%(message)s", stream)
    stream.close()
    logger.info("lost")
    assert "I/O operation on closed file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"log_level": "LOUD"}, "lithops.log_level: there is no level 'LOUD'; allowed are DEBUG, INFO,"),
        (
            {"log_format": "%(nope)s"},
            "lithops.log_format: '%(nope)s' is not a format of the logging module: ",
        ),
        ({"log_format": "100%"}, "lithops.log_format: '100%' is not a format"),
        (
            {"stream": "stderr"},
            "lithops.log_stream: there is no stream 'stderr'; allowed are 'ext://sys.stderr'",
        ),
        ({"stream": "ext://sys.nope"}, "lithops.log_stream: there is no stream 'ext://sys.nope'"),
        ({"stream": "ext://stderr"}, "lithops.log_stream: there is no stream 'ext://stderr'"),
        (
            {"stream": "ext://no_such_module.x"},
            "lithops.log_stream: there is no stream 'ext://no_such_module.x'",
        ),
        (
            {"filename": "missing/x.log"},
            "lithops.log_filename: cannot write to 'missing/x.log': No such file",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_lithops_logger(**arguments)
    assert str(caught.value).startswith(message)
    assert logger.handlers == []
