"""The virtual environments in which the peers are measured, apart from each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_FOLDER = ROOT / "benchmarks" / ".venvs"

REQUIREMENTS = {
    "own": ["--editable", f"{ROOT}[aws]", "numpy", "py-spy"],
    "peers": ["loky", "distributed", "ray", "numpy"],
    "lithops38": ["lithops==3.8.0", "boto3", "numpy"],
}
"""What pip installs into each."""


def prepare(folder: Path, name: str) -> None:
    """Make the environment `name` in `folder`, or bring it up to date."""
    python = interpreter(folder, name)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *REQUIREMENTS[name]], check=True)
    # The mark is left last: an environment whose installation failed is not taken for a whole one.
    _mark(folder, name).touch()


def is_prepared(folder: Path, name: str) -> bool:
    return _mark(folder, name).exists()


def interpreter(folder: Path, name: str) -> Path:
    return folder / name / "bin" / "python"


def version(folder: Path, name: str, distribution: str) -> str:
    """The version of an installed distribution."""
    program = f"from importlib.metadata import version; print(version({distribution!r}))"
    command = [str(interpreter(folder, name)), "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _mark(folder: Path, name: str) -> Path:
    return folder / name / "prepared"
