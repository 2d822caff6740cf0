"""Any keys can be stored side by side, and are listed in order, whatever they are."""

from __future__ import annotations

import os
import tempfile

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lithops.exceptions import InvalidKey
from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.storage.backends.localhost.paths import STAGING, file_path, folder_path

# Few characters, so that keys are often each other's prefixes; those with a meaning on disk among them.
odd_text = st.text(st.sampled_from("ab./%_+25E é日~!"), max_size=8)
long_text = st.builds(lambda text, times: text * times, odd_text, st.sampled_from([1, 1, 1, 7, 40]))
any_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def is_allowed(key: str) -> bool:
    try:
        file_path(key)
    except InvalidKey:
        return False
    return True


keys = (long_text | any_text).filter(is_allowed)


@given(keys, keys)
@example("a", "a/b")
@example("a%", "a")
@example("x" * 251, "x" * 60 + "/" + "x" * 191)
def test_no_file_is_in_the_way_of_another(first: str, second: str) -> None:
    assume(first != second)
    one, other = file_path(first), file_path(second)
    assert one != other
    assert not other.startswith(one + "/")
    assert not one.startswith(other + "/")


@given(keys)
def test_paths_stay_in_the_bucket_and_fit_the_file_system(key: str) -> None:
    path = file_path(key)
    names = path.split("/")
    assert not set(names) & {"", ".", "..", STAGING}
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    assert len(os.fsencode(path)) < 3_200


@given(keys, st.sampled_from(["x", "x.y", ""]))
def test_a_folder_holds_the_keys_of_its_prefix(key: str, last: str) -> None:
    assume(is_allowed(f"{key}/{last}"))
    assert file_path(f"{key}/{last}").startswith(folder_path(key) + "/")


@settings(max_examples=60, deadline=None)
@given(st.sets(keys, max_size=12), long_text, st.data())
def test_listings_are_those_of_a_sorted_set(stored: set[str], other: str, data: st.DataObject) -> None:
    somewhere = st.sampled_from([*sorted(stored), other])
    prefix = data.draw(somewhere)[: data.draw(st.integers(0, 12))]
    start_after = data.draw(somewhere)[: data.draw(st.integers(0, 12))]
    with tempfile.TemporaryDirectory() as root:
        backend = LocalhostStorage(LocalhostStorageConfig(root=root))
        backend.ensure_bucket("b")
        for key in stored:
            backend.put("b", key, key.encode())
        assert [info.key for info in backend.list("b")] == sorted(stored, key=str.encode)
        expected = [key for key in sorted(stored) if key.startswith(prefix) and key > start_after]
        assert [info.key for info in backend.list("b", prefix, start_after)] == expected
        assert {key: backend.get("b", key) for key in stored} == {key: key.encode() for key in stored}
        backend.delete("b", sorted(stored))
        assert os.listdir(f"{root}/b") == [STAGING]
