"""URLs from partition to stream, against servers of every honesty."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lithops.exceptions import AccessDenied, StorageError, StorageUnavailable
from lithops.prepare.partition import Piece, partition
from lithops.storage.cloudobject import CloudObjectUrl
from lithops.testing.memory import MemoryStorage
from lithops.worker import urls
from lithops.worker.data import open_part

TEXT = b"".join(b"line %d\n" % number for number in range(3000))


@dataclass
class Page:
    """One address, and how its server treats who asks."""

    body: bytes = TEXT
    ranges: bool = True
    length: bool = True
    """Without, the body is chunked."""
    sends: int | None = None
    """It breaks off after so many bytes of each answer."""
    extra: bytes = b""
    """It sends so much more than was asked for, in an answer whose length it does not tell."""
    shift: int = 0
    """It sends the range so many bytes further on."""
    headers: dict[str, str] = field(default_factory=dict)
    refusals: list[int] = field(default_factory=list)
    """The statuses of its first answers."""
    location: str = ""


class Site(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        """The range of each request."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        self.close_connection = True
        asked = self.headers.get("Range", "")
        self.server.asked.append(asked)
        page = self.server.pages.get(self.path)
        if page is None:
            self.send_error(404)
        elif page.refusals:
            self.send_error(page.refusals.pop(0))
        elif page.location:
            self.send_response(302)
            self.send_header("Location", page.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer(page, asked)

    def answer(self, page: Page, asked: str) -> None:
        status, body, headers = 200, page.body, dict(page.headers)
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        if match and page.ranges:
            start, stop = int(match[1]) + page.shift, int(match[2]) + 1 + page.shift
            if start >= len(page.body):
                status, body, headers["Content-Range"] = 416, b"", f"bytes */{len(page.body)}"
            else:
                status, body = 206, page.body[start:stop]
                headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(page.body)}"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        chunked = not page.length or bool(page.extra)
        body += page.extra
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: page.sends]
        if chunked:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) if sent else b"")
            self.wfile.write(b"0\r\n\r\n" if sent == body else b"")
        else:
            self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


def cut(site: Site, page: Page, **cuts: Any) -> list[Piece]:
    site.pages["/data.txt"] = page
    return partition([f"{site.address}/data.txt"], storage=MemoryStorage(), sleep=lambda _: None, **cuts)


def read(piece: Piece) -> bytes:
    with open_part(piece.part, MemoryStorage(), sleep=lambda _: None) as obj:
        return obj.data_stream.read()


class TestRanges:
    @pytest.mark.parametrize("newline", ["\n", "\n\n", None])
    def test_parts_are_ranges(self, site: Site, newline: str | None) -> None:
        body = TEXT * 8
        pieces = cut(site, Page(body, headers={"ETag": '"1"'}), chunk_size=100_000, newline=newline)
        assert len(pieces) == 3
        assert b"".join(map(read, pieces)) == body
        assert "" not in site.asked

    def test_one_part_is_the_whole(self, site: Site) -> None:
        [piece] = cut(site, Page())
        assert read(piece) == TEXT
        assert site.asked == ["bytes=0-0", ""]

    def test_attributes(self, site: Site) -> None:
        first, second = cut(site, Page(), chunk_number=2)
        obj = open_part(second.part, MemoryStorage())
        assert (obj.url, obj.bucket, obj.key, obj.path) == (f"{site.address}/data.txt", None, None, None)
        assert (obj.part, obj.total_parts, obj.data_byte_range) == (2, 2, (len(TEXT) // 2, len(TEXT) - 1))
        assert first.source == second.source == 0

    @pytest.mark.parametrize("ranges", [True, False])
    def test_an_empty_page(self, site: Site, ranges: bool) -> None:
        [piece] = cut(site, Page(b"", ranges=ranges), chunk_size=10)
        assert piece.part.size == 0
        assert read(piece) == b""

    def test_redirects_are_followed(self, site: Site) -> None:
        site.pages["/moved"] = Page(location="/data.txt")
        site.pages["/data.txt"] = Page()
        pieces = partition([CloudObjectUrl(f"{site.address}/moved")], storage=MemoryStorage(), chunk_number=2)
        assert b"".join(map(read, pieces)) == TEXT

    def test_an_address_may_hold_any_characters(self, site: Site) -> None:
        site.pages["/a%20b%C3%A9?x=*"] = Page(b"1")
        [piece] = partition([f"{site.address}/a bé?x=*"], storage=MemoryStorage())
        assert read(piece) == b"1"


class TestNoRanges:
    @pytest.mark.parametrize("length", [True, False])
    @pytest.mark.parametrize("newline", ["\n", "||", None])
    def test_it_is_one_part(self, site: Site, length: bool, newline: str | None) -> None:
        [piece] = cut(site, Page(ranges=False, length=length), chunk_size=1000, newline=newline)
        obj = open_part(piece.part, MemoryStorage())
        assert obj.data_byte_range == ((0, len(TEXT) - 1) if length else None)
        assert obj.chunk_size == (len(TEXT) if length else None)
        assert obj.total_parts == 1
        assert obj.data_stream.read() == TEXT

    def test_ranges_of_unknown_size_are_none(self, site: Site) -> None:
        [piece] = cut(site, Page(ranges=False, headers={"Content-Range": "bytes 0-0/*"}), chunk_size=1000)
        assert read(piece) == TEXT


class TestBreaks:
    @pytest.mark.parametrize("newline", ["\n", None])
    def test_a_truncated_range_is_read_on(self, site: Site, newline: str | None) -> None:
        pieces = cut(site, Page(sends=4000), chunk_number=2, newline=newline)
        assert b"".join(map(read, pieces)) == TEXT

    def test_a_truncated_whole_is_read_on_from_a_server_with_ranges(self, site: Site) -> None:
        [piece] = cut(site, Page(sends=20_000))
        assert read(piece) == TEXT
        assert site.asked == ["bytes=0-0", "", f"bytes=20000-{len(TEXT) - 1}"]

    @pytest.mark.parametrize("length", [True, False])
    def test_a_truncated_whole_is_no_whole(self, site: Site, length: bool) -> None:
        [piece] = cut(site, Page(ranges=False, length=length, sends=4000))
        with pytest.raises(StorageUnavailable, match=r"data.txt"):
            read(piece)
        # The first attempt got on, three more did not.
        assert len(site.asked) == 1 + 4

    def test_a_truncated_whole_of_unknown_size_is_no_whole(self, site: Site) -> None:
        [piece] = cut(site, Page(shift=3, sends=4000))
        assert piece.part.size is None
        with pytest.raises(StorageUnavailable, match=r"data.txt"):
            read(piece)

    def test_a_whole_that_broke_off_once_is_read_to_its_end(self, site: Site) -> None:
        [piece] = cut(site, Page(ranges=False, sends=4000))
        with open_part(piece.part, MemoryStorage(), sleep=lambda _: self.mend(site)) as obj:
            assert obj.data_stream.read() == TEXT

    @staticmethod
    def mend(site: Site) -> None:
        site.pages["/data.txt"].sends = None

    def test_a_busy_server_is_asked_again(self, site: Site) -> None:
        slept: list[float] = []
        site.pages["/data.txt"] = page = Page(refusals=[503, 429, 500])
        [piece] = partition([f"{site.address}/data.txt"], storage=MemoryStorage(), sleep=slept.append)
        page.refusals = [502, 503]
        assert open_part(piece.part, MemoryStorage(), sleep=slept.append).data_stream.read() == TEXT
        assert slept == [0.5, 1.0, 2.0, 0.5, 1.0]

    def test_but_not_for_ever(self, site: Site) -> None:
        with pytest.raises(StorageUnavailable, match=r"data.txt' cannot be read: its server answers 503"):
            cut(site, Page(refusals=[503] * 4))

    def test_a_silent_server_is_given_up(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(urls, "TIMEOUT_S", 0.05)
        still = threading.Event()
        monkeypatch.setattr(Answering, "answer", lambda *_: still.wait(30))
        try:
            with pytest.raises(StorageUnavailable, match="timed out"):
                cut(site, Page())
        finally:
            still.set()


class TestLies:
    def test_more_than_was_asked_for_is_cut_off(self, site: Site) -> None:
        pieces = cut(site, Page(extra=b"more and more"), chunk_number=3, newline=None)
        assert b"".join(map(read, pieces)) == TEXT

    def test_another_range_than_was_asked_for(self, site: Site) -> None:
        first, second = cut(site, Page(), chunk_number=2, newline=None)
        site.pages["/data.txt"].shift = 5
        for piece in (first, second):
            with pytest.raises(StorageError, match=r"was asked for the bytes from .* and sent others"):
                read(piece)

    def test_another_range_at_first_is_no_range(self, site: Site) -> None:
        [piece] = cut(site, Page(shift=3), chunk_number=2)
        assert not piece.part.has_ranges
        assert read(piece) == TEXT

    def test_ranges_that_are_withdrawn(self, site: Site) -> None:
        pieces = cut(site, Page(), chunk_number=2, newline=None)
        site.pages["/data.txt"].ranges = False
        for piece in pieces:
            with pytest.raises(StorageError, match="set obj_chunk_number=1"):
                read(piece)


class TestChanges:
    @pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
    @pytest.mark.parametrize("ranges", [True, False])
    def test_another_validator(self, site: Site, header: str, ranges: bool) -> None:
        pieces = cut(site, Page(ranges=ranges, headers={header: "one"}), chunk_number=2)
        assert len(pieces) == 1 + ranges
        site.pages["/data.txt"].headers = {header: "two"}
        for piece in pieces:
            with pytest.raises(StorageError, match=r"data.txt' changed after it was partitioned"):
                read(piece)

    @pytest.mark.parametrize("ranges", [True, False])
    @pytest.mark.parametrize("number", [1, 2])
    def test_another_size(self, site: Site, ranges: bool, number: int) -> None:
        pieces = cut(site, Page(ranges=ranges), chunk_number=number)
        site.pages["/data.txt"].body += b"more"
        for piece in pieces:
            with pytest.raises(StorageError, match="changed after it was partitioned"):
                read(piece)


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "error"),
        [(404, StorageError), (410, StorageError), (401, AccessDenied), (403, AccessDenied)],
    )
    def test_a_refusal_is_final_and_named_without_its_secret(
        self, site: Site, status: int, error: type[StorageError]
    ) -> None:
        site.pages["/data.txt?signature=secret"] = Page(refusals=[status])
        with pytest.raises(
            error, match=rf"/data.txt\?...' cannot be read: its server answers {status}"
        ) as raised:
            partition([f"{site.address}/data.txt?signature=secret"], storage=MemoryStorage())
        assert "secret" not in str(raised.value)
        assert len(site.asked) == 1

    def test_a_page_that_goes_is_named(self, site: Site) -> None:
        pieces = cut(site, Page(), chunk_number=2)
        site.pages.clear()
        with pytest.raises(StorageError, match="404"):
            read(pieces[1])

    def test_what_is_no_address_is_named(self) -> None:
        with pytest.raises(StorageError, match="is not a URL that can be read"):
            partition(["http://host:port/a"], storage=MemoryStorage())

    def test_a_part_does_not_show_a_signed_url(self, site: Site) -> None:
        site.pages["/a?signature=secret"] = Page()
        [piece] = partition([f"{site.address}/a?signature=secret"], storage=MemoryStorage())
        obj = open_part(piece.part, MemoryStorage())
        assert "secret" not in f"{piece!r} {obj!r}"
        assert repr(obj).endswith("/a?...'>")
