"""Glob patterns over keys: ``?`` and ``*`` stay within a segment, ``**`` crosses slashes.

``**/`` at the start of a segment also stands for no folder at all: ``data/**/x.csv`` matches ``data/x.csv``.
All other characters stand for themselves.
"""

from __future__ import annotations

import re

_TOKENS = re.compile(r"(?:(?<=/)|\A)\*\*/|\*\*|\*|\?")
_MEANINGS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def compile_glob(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression; a key matches if all of it does (``fullmatch``)."""
    parts = []
    end = 0
    for token in _TOKENS.finditer(pattern):
        parts += [re.escape(pattern[end : token.start()]), _MEANINGS[token.group()]]
        end = token.end()
    parts.append(re.escape(pattern[end:]))
    return re.compile("".join(parts), re.DOTALL)


def literal_prefix(pattern: str) -> str:
    """What every key that matches starts with: it keeps the listing small."""
    token = _TOKENS.search(pattern)
    return pattern[: token.start()] if token else pattern
