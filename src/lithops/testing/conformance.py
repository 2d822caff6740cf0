"""What the parts of the compute backends' conformance suite have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lithops.executors import FunctionExecutor


class Conformance:
    """Tests of executors over one compute backend."""

    runs_in_processes: ClassVar[bool] = True
    """Calls run in processes that can be stopped, and can die without harm to others."""
    captures_logging: ClassVar[bool] = True
    """What calls log is in `fut.logs`, as is what they print."""
    captures_subprocesses: ClassVar[bool] = True
    """What the programs that calls start print is in `fut.logs` too."""
    has_lithops: ClassVar[bool] = True
    """Functions can make executors of their own."""
    on_this_machine: ClassVar[bool] = False
    """The processes of calls can be seen from here."""
    patience_s: ClassVar[float] = 60.0
    """How long anything may take that is not meant to be long."""

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        """A new executor over the backend under test, with a storage of its own.

        `section` are keys of the configuration's section `lithops`; `tmp_path` is an empty folder.
        """
        raise NotImplementedError

    @pytest.fixture
    def executor(self, tmp_path: Path) -> Iterator[FunctionExecutor]:
        with self.make_executor(tmp_path) as executor:
            yield executor

    def needs(self, feature: str) -> None:
        """Skip the test where the attribute of that name is false."""
        if not getattr(self, feature):
            pytest.skip(f"not for this backend: {feature} is False")
