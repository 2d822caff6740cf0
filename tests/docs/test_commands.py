"""The page of the command line has every command, and every option of them all."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from pages import ROOT

from lithops.cli.main import _parser
from lithops.cli.options import common_options

PAGE = (ROOT / "docs" / "commands.md").read_text()


def commands(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The words of each command that can be given, without those of groups."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser.prog
    for group in groups:
        for each in group.choices.values():
            yield from commands(each)


def test_every_command_is_there() -> None:
    listed = re.findall(r"^\| `(lithops [\w ]+)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(commands(_parser()))


def test_every_common_option_is_there() -> None:
    listed = re.findall(r"^\| `(-\w)`, `(--\w+)` \|", PAGE, re.MULTILINE)
    assert listed == [tuple(action.option_strings) for action in common_options()._actions]
