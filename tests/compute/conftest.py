"""The conformance suite is no test module: its assertions show their values only if pytest is told of it."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("lithops.testing.compute", "lithops.testing.stats")
