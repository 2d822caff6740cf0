"""Globs match what a plain reading of their rules says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.storage.globs import compile_glob, literal_prefix

pieces = st.sampled_from(["a", "b", "/", "*", "**", "**/", "?", "a/", "/a", ".", "[", "\n"])
patterns = st.lists(pieces, max_size=7).map("".join)
keys = st.text(st.sampled_from("ab/.[\n"), max_size=8)


def matches(pattern: str, key: str, at_start: bool = True) -> bool:
    """The rules, one by one; `at_start` says that a segment of the pattern begins here."""
    if not pattern:
        return not key
    if at_start and pattern.startswith("**/"):
        rest = pattern[3:]
        folders_end = [0] + [end + 1 for end, character in enumerate(key) if character == "/"]
        return any(matches(rest, key[end:]) for end in folders_end)
    if pattern.startswith("**"):
        return any(matches(pattern[2:], key[end:], False) for end in range(len(key) + 1))
    if pattern[0] == "*":
        segment_end = len(key.partition("/")[0])
        return any(matches(pattern[1:], key[end:], False) for end in range(segment_end + 1))
    if pattern[0] == "?":
        return key[:1] not in ("", "/") and matches(pattern[1:], key[1:], False)
    return key[:1] == pattern[0] and matches(pattern[1:], key[1:], pattern[0] == "/")


@given(patterns, keys)
def test_a_glob_matches_as_its_rules_say(pattern: str, key: str) -> None:
    assert bool(compile_glob(pattern).fullmatch(key)) == matches(pattern, key)


@given(patterns, keys)
def test_every_match_starts_with_the_literal_prefix(pattern: str, key: str) -> None:
    if matches(pattern, key):
        assert key.startswith(literal_prefix(pattern))


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.csv", ["a.csv", ".csv"], ["d/a.csv", "a.csv.gz"]),
        ("data/*", ["data/a", "data/"], ["data", "data/a/b"]),
        ("data/**", ["data/a", "data/a/b", "data/"], ["data"]),
        ("data/**/x.csv", ["data/x.csv", "data/a/x.csv", "data/a/b/x.csv"], ["data/yx.csv", "x.csv"]),
        ("**/x.csv", ["x.csv", "a/b/x.csv"], ["ax.csv"]),
        ("part-?.txt", ["part-1.txt"], ["part-10.txt", "part-/.txt"]),
        ("a[1].txt", ["a[1].txt"], ["a1.txt"]),
    ],
)
def test_globs_as_users_write_them(pattern: str, matching: list[str], others: list[str]) -> None:
    matcher = compile_glob(pattern)
    assert [key for key in matching + others if matcher.fullmatch(key)] == matching
