"""A plugin of pytest that measures what the tests cover, for `.ci/run`: the README's command stays plain `pytest`.

Functions that run in worker processes are not seen here.
"""

from __future__ import annotations

import os

import coverage

# Only this process needs to find this module.
os.environ.pop("PYTHONPATH", None)

_coverage = coverage.Coverage()
_coverage.start()


def pytest_unconfigure() -> None:
    _coverage.stop()
    _coverage.save()
