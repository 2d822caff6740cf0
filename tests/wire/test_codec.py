"""Messages arrive as they were sent, in text and in frames; what is no message is refused as such."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lithops.exceptions import WireError
from lithops.wire.codec import (
    hello_to_frame,
    remember_job,
    statuses_from_frames,
    statuses_from_text,
    statuses_to_frame,
    statuses_to_text,
    task_from_frame,
    task_from_text,
    task_to_frame,
    task_to_text,
)
from lithops.wire.frames import Frame, FrameReader
from lithops.wire.messages import (
    WIRE_VERSION,
    Binding,
    Blob,
    ByteRange,
    Call,
    CallStatus,
    Failure,
    FailureKind,
    InlineBlob,
    JobSpec,
    Phase,
    StorageRef,
    StoredBlob,
    Task,
)

# ---------------------------------------------------------------- any message

texts = st.text(st.characters(), max_size=20)  # lone surrogates too, which names of files bring along
numbers = st.integers(-1, 1 << 60)
ranges = st.builds(ByteRange, st.integers(0, 1 << 50), st.integers(0, 1 << 50))
inline = st.binary(max_size=40) | st.integers(4090, 4100).map(lambda size: bytes([size % 251]) * size)
blobs: st.SearchStrategy[Blob] = st.builds(InlineBlob, inline) | st.builds(
    StoredBlob, texts, st.none() | ranges
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
storages = st.builds(StorageRef, texts, texts, st.dictionaries(texts, plain, max_size=3))
jobs = st.builds(
    JobSpec,
    job_key=texts,
    function=blobs,
    function_hash=texts,
    storage=storages,
    timeout_s=st.floats(allow_nan=False),
    inline_limit=numbers,
    modules=st.none() | blobs,
    modules_hash=texts,
    binding=st.sampled_from(Binding),
    extra=st.none() | blobs,
    reserved=st.lists(texts, max_size=3).map(tuple),
    placing=st.lists(texts, max_size=3).map(tuple),
    env=st.dictionaries(texts, texts, max_size=3),
)
calls = st.builds(Call, numbers, st.lists(blobs, max_size=3).map(tuple), numbers)
tasks = st.builds(Task, numbers, jobs, st.lists(calls, max_size=4).map(tuple))
failures = st.builds(Failure, st.sampled_from(FailureKind), texts, texts, texts, st.none() | blobs)
statuses = st.builds(
    CallStatus,
    job_key=texts,
    index=numbers,
    phase=st.sampled_from(Phase),
    task_id=numbers,
    attempt=numbers,
    activation_id=texts,
    stats=st.binary(max_size=130),
    result=st.none() | blobs,
    failure=st.none() | failures,
    logs=texts,
    follow=st.booleans(),
)
status_lists = st.lists(statuses, max_size=4)


def joined(segments: list[Any]) -> bytes:
    return b"".join(bytes(segment) for segment in segments)


def one_frame(data: bytes) -> Frame:
    (frame,) = FrameReader().feed(data)
    return frame


# ---------------------------------------------------------------- there and back


@given(tasks)
def test_a_task_as_text(task: Task) -> None:
    assert task_from_text(task_to_text(task)) == task


@given(status_lists)
def test_statuses_as_text(sent: list[CallStatus]) -> None:
    assert statuses_from_text(statuses_to_text(sent)) == sent


@given(tasks)
def test_a_task_as_a_frame(task: Task) -> None:
    known: dict[str, JobSpec] = {}
    assert task_from_frame(one_frame(joined(task_to_frame(task, with_job=True))), known) == task
    assert known == {task.job.job_key: task.job}
    again = replace(task, task_id=7)
    assert task_from_frame(one_frame(joined(task_to_frame(again, with_job=False))), known) == again


@given(st.lists(status_lists, max_size=3))
def test_statuses_as_frames(batches: list[list[CallStatus]]) -> None:
    frames = FrameReader().feed(b"".join(joined(statuses_to_frame(batch)) for batch in batches))
    assert statuses_from_frames(frames) == [status for batch in batches for status in batch]


@settings(max_examples=200)
@given(st.lists(status_lists, min_size=1, max_size=4), st.lists(st.integers(0, 1 << 30), max_size=12))
@example([[]], [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_frames_arrive_in_any_pieces(batches: list[list[CallStatus]], cuts: list[int]) -> None:
    stream = b"".join(joined(statuses_to_frame(batch)) for batch in batches)
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    reader = FrameReader()
    received = [
        statuses_from_frames([frame])
        for start, stop in pairwise(places)
        for frame in reader.feed(stream[start:stop])
    ]
    assert received == batches


def test_a_frame_that_comes_byte_by_byte() -> None:
    stream = joined(hello_to_frame("1.0", (3, 11), 42)) * 2
    reader = FrameReader()
    frames = [frame for byte in stream for frame in reader.feed(bytes([byte]))]
    assert [frame.header["hello"] for frame in frames] == [
        {"version": "1.0", "python": [3, 11], "pid": 42}
    ] * 2


def test_large_bytes_are_not_copied_on_their_way_in() -> None:
    status = CallStatus("j", 0, Phase.RETURNED, result=InlineBlob(b"x" * 10_000))
    (received,) = statuses_from_frames(FrameReader().feed(joined(statuses_to_frame([status]))))
    assert isinstance(received.result, InlineBlob)
    assert isinstance(received.result.data, memoryview)
    assert not received.result.data.readonly


def test_text_is_json_that_others_can_read() -> None:
    status = CallStatus(
        "j", 3, Phase.RAISED, failure=Failure(FailureKind.RAISED, "E", "\ud800 é"), stats=b"\0\xff"
    )
    message = json.loads(statuses_to_text([status]).decode("ascii"))
    assert message["v"] == WIRE_VERSION
    assert message["statuses"][0][:3] == ["j", 3, "raised"]


def test_times_without_end_arrive() -> None:
    job = JobSpec("j", InlineBlob(b""), "", StorageRef("s", "b"), math.inf, 0)
    assert task_from_text(task_to_text(Task(0, job, ()))).job.timeout_s == math.inf


# ---------------------------------------------------------------- what is no message

GARBAGE = [
    b"",
    b"\xff\xfe",
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"v"',
    b"{}",
    b'{"v":1}',
    b'{"v":1,"statuses":7,"calls":7,"job_key":"j","task":0}',
    b'{"v":1,"statuses":[[1,2]],"calls":[[1,2]],"job_key":"j","task":0}',
    b'{"v":1,"statuses":[["j",0,"no such phase",0,0,"","",null,null,"",false]]}',
    b'{"v":1,"statuses":[["j",0,"lost",0,0,"","\xc3\xa9",null,null,"",false]]}',
    b'{"v":1,"calls":[],"job_key":"j","task":0}',
    b'{"v":1,"calls":[],"job_key":"j","task":0,"job":{}}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused(data: bytes) -> None:
    for read in (task_from_text, statuses_from_text):
        with pytest.raises(WireError):
            read(data)


@given(status_lists.filter(bool), st.data())
def test_a_message_that_was_cut_is_refused(sent: list[CallStatus], data: st.DataObject) -> None:
    message = statuses_to_text(sent)
    with pytest.raises(WireError):
        statuses_from_text(message[: data.draw(st.integers(0, len(message) - 1))])


_JSON = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3)
)


@given(_JSON, _JSON, _JSON)
def test_any_json_is_a_message_or_refused(first: Any, second: Any, third: Any) -> None:
    message = {
        "v": WIRE_VERSION,
        "statuses": [first, second],
        "calls": third,
        "job_key": first,
        "task": second,
    }
    text = json.dumps(message).encode()
    frame = Frame(message, b"12345")
    for read in (
        lambda: statuses_from_text(text),
        lambda: task_from_text(text),
        lambda: statuses_from_frames([frame]),
        lambda: task_from_frame(frame, {}),
    ):
        with pytest.raises(WireError):
            read()


@pytest.mark.parametrize("version", [0, WIRE_VERSION + 1, "1", None])
def test_another_version_is_refused_with_advice(version: Any) -> None:
    text = json.dumps({"v": version, "statuses": []}).encode()
    with pytest.raises(WireError, match="deploy the runtime again"):
        statuses_from_text(text)
    head = len(text).to_bytes(4, "little") + bytes(4)
    with pytest.raises(WireError, match="deploy the runtime again"):
        FrameReader().feed(head + text)


def test_a_frame_that_names_more_bytes_than_it_has_is_refused() -> None:
    frame = one_frame(
        joined(statuses_to_frame([CallStatus("j", 0, Phase.RETURNED, result=InlineBlob(b"12345"))]))
    )
    for length in (6, -1, 1 << 40):
        header = json.loads(json.dumps(frame.header))
        header["statuses"][0][7] = length
        with pytest.raises(WireError):
            statuses_from_frames([Frame(header, b"12345")])


def test_a_frame_whose_header_is_none_is_refused() -> None:
    for header in (b"1,2", b"", b"{", b"]["):
        with pytest.raises(WireError):
            FrameReader().feed(len(header).to_bytes(4, "little") + bytes(4) + header)


def test_a_task_before_its_job_is_refused() -> None:
    job = JobSpec("unheard", InlineBlob(b""), "", StorageRef("s", "b"), 1.0, 0)
    frame = one_frame(joined(task_to_frame(Task(0, job, ()), with_job=False)))
    with pytest.raises(WireError, match="unheard"):
        task_from_frame(frame, {})


def test_both_ends_of_a_pipe_keep_the_same_jobs() -> None:
    sender: dict[str, JobSpec] = {}
    receiver: dict[str, JobSpec] = {}
    for number in [*range(40), 30, 5, 39, 38, 5]:
        job = JobSpec(f"j{number}", InlineBlob(b""), "", StorageRef("s", "b"), 1.0, 0)
        is_known = job.job_key in sender
        if not is_known:
            remember_job(job, sender)
        frame = one_frame(joined(task_to_frame(Task(number, job, ()), with_job=not is_known)))
        assert task_from_frame(frame, receiver).job == job
        assert list(sender) == list(receiver)
    assert len(sender) <= 16


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from([0, 1, 4095, 65535, 65536, 70_000, 200_000]), min_size=1, max_size=5),
    st.lists(st.tuples(st.booleans(), st.integers(500, 90_000)), min_size=1, max_size=20),
)
def test_large_frames_arrive_however_they_are_read(sizes: list[int], reads: list[tuple[bool, int]]) -> None:
    """Each read is fed, or goes straight into the memory that is missing where there is any."""
    sent = [
        CallStatus("j", index, Phase.RETURNED, result=InlineBlob(bytes([index + 1]) * size))
        for index, size in enumerate(sizes)
    ]
    stream = b"".join(joined(statuses_to_frame([status])) for status in sent)
    reader = FrameReader()
    received: list[CallStatus] = []
    position = turn = 0
    while position < len(stream):
        in_place, count = reads[turn % len(reads)]
        turn += 1
        missing = reader.missing
        if in_place and missing is not None:
            piece = stream[position : position + min(count, len(missing))]
            missing[: len(piece)] = piece
            frames = reader.fill(len(piece))
        else:
            piece = stream[position : position + count]
            frames = reader.feed(piece)
        position += len(piece)
        received += statuses_from_frames(frames)
    assert received == sent
    assert reader.missing is None
