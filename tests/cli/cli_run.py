"""Runs commands in the process of a test, in a world of their own."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lithops.cli.main import main


class Done(NamedTuple):
    """What became of a command."""

    status: int
    out: str
    err: str


class Command:
    """Runs a command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], settings: Path) -> None:
        self._capsys = capsys
        self._settings = settings

    def configure(self, config: str | Mapping[str, Any]) -> None:
        """Replace the configuration: YAML, or sections."""
        self._settings.write_text(config if isinstance(config, str) else json.dumps(config))

    def __call__(self, *argv: str) -> Done:
        try:
            status = main(argv)
        except SystemExit as end:
            status = int(end.code or 0)
        return Done(status, *self._capsys.readouterr())

    def succeeds(self, *argv: str) -> Done:
        done = self(*argv)
        assert done.status == 0, done
        return done

    def fails(self, *argv: str) -> str:
        """The one line that a command that fails prints."""
        done = self(*argv)
        assert (done.status, done.out) == (1, ""), done
        assert done.err.count("\n") == 1, done
        return done.err.strip()

    def refused(self, *argv: str) -> str:
        """What is said of a command that is written wrongly."""
        done = self(*argv)
        assert done.status == 2, done
        return done.err


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, a working folder and a configuration of the test's own, and a logger that nobody has set up."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LITHOPS_CONFIG", raising=False)
    monkeypatch.setenv("LITHOPS_CONFIG_FILE", str(tmp_path / "settings.yaml"))
    (tmp_path / "settings.yaml").write_text(
        f"localhost: {{storage_bucket: mine, root: '{tmp_path}/buckets'}}"
    )
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("lithops")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    return tmp_path


@pytest.fixture
def command(own_home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys, own_home / "settings.yaml")
