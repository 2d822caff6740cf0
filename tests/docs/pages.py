"""The pages of the documentation, and the Python code in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "runtimes/**/*.md", "src/**/*.md")
    for page in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"^ *print\(.*\)  # -> (.*)$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of that language, in order."""
    return [code for tag, code in _FENCE.findall(page.read_text()) if tag == language]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def expected_output(code: str) -> list[str]:
    """What the code says that it prints: ``print(...)  # -> text``."""
    return _SHOWN.findall(code)


def run_program(code: str, folder: Path) -> list[str]:
    """Run code as a program of its own in `folder`, without any configuration, and give the lines that it printed."""
    program = folder / "program.py"
    program.write_text(code)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LITHOPS_")}
    environment["HOME"] = str(folder)
    command = [sys.executable, "-W", "error", program.name]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, f"{program.read_text()}\n{done.stdout}\n{done.stderr}"
    return done.stdout.splitlines()
