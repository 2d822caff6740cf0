"""Who has the ends of a pipe: handles in processes, in pickles, and of processes that die."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from other_process import OtherProcess, keys_of

import lithops.multiprocessing as mp
from lithops import FunctionExecutor
from lithops.multiprocessing import handles, program
from lithops.multiprocessing.connection import close_handles, handed_to
from lithops.shared import session as sessions
from lithops.shared.session import Session, new_name

Start = Callable[..., Any]


@pytest.fixture
def session() -> Session:
    return program.session()


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SLICE_S", 0.05)


def is_at_end(end: Any) -> bool:
    try:
        return bool(end.poll(0)) and end.recv() is None
    except EOFError:
        return True


def test_an_end_goes_to_a_call(fexec: FunctionExecutor) -> None:
    ours, theirs = mp.Pipe()

    def echo(end: Any) -> int:
        count = 0
        try:
            while True:
                end.send(end.recv())
                count += 1
        except EOFError:
            return count

    future = fexec.call_async(echo, (theirs,))
    theirs.close()
    for item in ["a", np.arange(3).tolist(), bytes(3_000_000)]:
        ours.send(item)
        assert ours.recv() == item
    ours.close()
    assert future.result() == 3


def test_when_the_call_has_ended_its_end_is_closed(fexec: FunctionExecutor) -> None:
    reader, writer = mp.Pipe(False)
    future = fexec.call_async(lambda end: end.send("last words"), (writer,))
    writer.close()
    assert reader.recv() == "last words"
    with pytest.raises(EOFError):
        reader.recv()
    future.result()
    reader.close()


def test_an_end_in_a_pickle_counts() -> None:
    reader, writer = mp.Pipe(False)
    pickled = pickle.dumps(writer)
    writer.close()
    assert not reader.poll(0)
    again = pickle.loads(pickled)
    again.send(1)
    assert reader.recv() == 1
    again.close()
    with pytest.raises(EOFError):
        reader.recv()
    reader.close()


def test_every_copy_counts_and_the_last_one_closes() -> None:
    reader, writer = mp.Pipe(False)
    copies = [pickle.loads(pickle.dumps(writer)) for _ in range(3)]
    writer.close()
    for copy in copies:
        assert not is_at_end(reader)
        copy.close()
    assert is_at_end(reader)
    reader.close()


def test_one_pickle_may_be_read_many_times() -> None:
    reader, writer = mp.Pipe(False)
    pickled = pickle.dumps(writer)
    first = pickle.loads(pickled)
    writer.close()
    first.close()
    assert is_at_end(reader)
    second = pickle.loads(pickled)
    assert not reader.poll(0), "there is a writer again"
    second.send(1)
    assert reader.recv() == 1
    second.close()
    assert is_at_end(reader)
    reader.close()


def test_a_closed_end_cannot_be_pickled() -> None:
    reader, writer = mp.Pipe(False)
    writer.close()
    with pytest.raises(OSError, match="handle is closed"):
        pickle.dumps(writer)
    reader.close()


def test_a_pickle_that_nobody_reads_counts_for_a_time_only(
    short_slices: None, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = mp.Pipe(False)
    monkeypatch.setattr(session, "expiry_ms", 1000)
    pickle.dumps(writer)
    monkeypatch.undo()
    sessions.SLICE_S = 0.05
    writer.close()
    assert not reader.poll(0)
    with pytest.raises(EOFError):
        reader.recv()
    sessions.SLICE_S = 5.0
    reader.close()


def test_all_readers_meet_the_end() -> None:
    reader, writer = mp.Pipe(False)
    other = pickle.loads(pickle.dumps(reader))
    writer.close()
    for each in (reader, other, reader):
        with pytest.raises(EOFError):
            each.recv()
    reader.close()
    other.close()


def test_when_both_ends_are_closed_nothing_is_left(session: Session) -> None:
    before = keys_of(session)
    first, second = mp.Pipe()
    first.send(1)
    second.send(bytes(3_000_000))
    assert {key for key in keys_of(session) if ":large:" in key} <= set(session.held_keys())
    for key in keys_of(session):
        assert session.run("PTTL", key) != -1, key
    first.close()
    second.close()
    assert keys_of(session) == before
    first, second = mp.Pipe()
    first.self = first  # type: ignore[attr-defined]
    del first, second
    gc.collect()
    assert keys_of(session) == before


def test_it_has_no_descriptor() -> None:
    first, second = mp.Pipe()
    with pytest.raises(NotImplementedError, match="has no file descriptor"):
        first.fileno()
    first.close()
    second.close()


# ---------------------------------------------------------------- deaths


def test_the_ends_of_a_buried_process_are_closed(start_program: Start, session: Session) -> None:
    ours, theirs = mp.Pipe()
    child = new_name()
    with handed_to(child):
        other = OtherProcess(
            start_program, f"appear_as({child!r}); given.send('there'); given.recv()", theirs
        )
    theirs.close()
    assert ours.recv() == "there"
    other.kill()
    session.bury(child)
    assert not ours.poll(0)
    close_handles(session, child)
    with pytest.raises(EOFError):
        ours.recv()
    with pytest.raises(BrokenPipeError):
        ours.send(1)
    assert not session.run("EXISTS", handles.index(session, child))
    ours.close()


def test_what_a_process_never_came_to_take_is_closed_with_it(session: Session) -> None:
    reader, writer = mp.Pipe(False)
    with handed_to("never started"):
        pickle.dumps([writer, reader])
    writer.close()
    assert not is_at_end(reader)
    close_handles(session, "never started")
    assert is_at_end(reader)
    reader.close()


def test_a_process_that_takes_long_to_start_is_not_taken_for_dead(session: Session) -> None:
    """It has the end, and is still unpickling what comes after that."""
    ends: tuple[Any, Any] = mp.Pipe()
    ours, theirs = ends
    child = new_name()
    with handed_to(child):
        pickled = pickle.dumps(theirs)
    theirs.close()
    its_own = pickle.loads(pickled)
    ours.look()
    its_own.send("at last")
    assert ours.recv() == "at last"
    session.bury(child)
    ours.look()
    assert is_at_end(ours)
    its_own.close()
    ours.close()


@pytest.mark.parametrize("how", ["killed", "ended in order"])
def test_a_reader_notices_by_itself_that_the_other_end_is_dead(
    how: str, short_slices: None, start_program: Start, session: Session
) -> None:
    ours, theirs = mp.Pipe()
    child = new_name()
    with handed_to(child):
        source = f"import os; appear_as({child!r}); given.send('there'); given.recv(); leave(); os._exit(0)"
        other = OtherProcess(start_program, source, theirs)
    theirs.close()
    assert ours.recv() == "there"
    if how == "killed":
        other.kill()
        session.bury(child)  # as its presence does by itself, a little later
    else:
        ours.send("go")
    with pytest.raises(EOFError):
        ours.recv()
    with pytest.raises(BrokenPipeError):
        ours.send(1)
    ours.close()


def test_a_sender_notices_by_itself_that_the_reader_is_dead(
    short_slices: None, start_program: Start, session: Session, eventually: Callable[..., None]
) -> None:
    reader, writer = mp.Pipe(False)
    child = new_name()
    with handed_to(child):
        other = OtherProcess(start_program, f"appear_as({child!r}); say(given.recv()); given.recv()", reader)
    reader.close()
    writer.send("hello")
    assert other.hear() == "hello"
    other.kill()
    session.bury(child)

    def fails() -> bool:
        try:
            writer.send("nobody reads this")
        except BrokenPipeError:
            return True
        return False

    eventually(fails)
    writer.close()


def test_the_end_is_there_again_if_who_read_it_died(short_slices: None, session: Session) -> None:
    reader, writer = mp.Pipe(False)
    writer.close()
    session.run("LPOP", reader.inbox)  # type: ignore[attr-defined] # as a reader does before it puts it back
    with pytest.raises(EOFError):
        reader.recv()
    reader.close()
