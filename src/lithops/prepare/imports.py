"""The modules that code imports when it runs, read from the compiled code."""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator
from typing import Any

_IMPORT_NAME = dis.opmap["IMPORT_NAME"]


def imported_modules(code: types.CodeType, package: str | None = None) -> set[str]:
    """The full names of the modules that `code`, and the code nested in it, imports.

    `from x import y` gives `x.y`, for `y` may be a module. `package` is what relative imports are relative
    to: without it they are left out.
    """
    return {name for each in _with_nested(code) for name in _imports(each, package)}


def _with_nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_nested(constant)


def _imports(code: types.CodeType, package: str | None) -> Iterator[str]:
    # Every instruction is two bytes. Most code imports nothing, and disassembling is slow.
    if _IMPORT_NAME not in code.co_code[::2]:
        return
    level: Any = None
    wanted: Any = None
    for instruction in dis.get_instructions(code):
        if instruction.opcode == _IMPORT_NAME:
            base = _absolute(instruction.argval, level, package)
            if base:
                yield from (base if name in ("", "*") else f"{base}.{name}" for name in wanted or ("",))
        elif instruction.opcode != dis.EXTENDED_ARG:
            level, wanted = wanted, instruction.argval


def _absolute(name: str, level: int, package: str | None) -> str:
    if level == 0:
        return name
    if not package:
        return ""
    parent = package.rsplit(".", level - 1)[0]
    return f"{parent}.{name}" if name else parent
