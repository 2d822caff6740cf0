"""Google's resumable uploads, which store pieces as one object in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from google.api_core.exceptions import ServiceUnavailable
from requests import Response

from lithops.storage.backends.gcp_storage.connection import RETRY, Connection
from lithops.storage.backends.gcp_storage.errors import FOREIGN

PIECE_BYTES = 8 << 20
"""Google asks for a multiple of 256 KiB. Up to so much is stored in a single request."""
CONTENT_TYPE = "application/octet-stream"
_INCOMPLETE = 308


def mark_last(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The pieces, each with whether it is the last one: so it is read one piece ahead."""
    piece = next(pieces, None)
    while piece is not None:
        following = next(pieces, None)
        yield piece, following is None
        piece = following


class ResumableUpload:
    """An object that is sent piece by piece, and appears with the last one."""

    def __init__(
        self, connection: Connection, url: str, parameters: Mapping[str, str], metadata: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._offset = 0

        def begin() -> Response:
            return connection.request(
                "POST",
                url,
                params={"uploadType": "resumable", **parameters},
                headers={"X-Upload-Content-Type": CONTENT_TYPE},
                json={"metadata": dict(metadata)},
            )

        self._url: str = RETRY(begin)().headers["Location"]

    def send(self, piece: bytes, *, is_last: bool) -> None:
        stop = self._offset + len(piece)
        total = str(stop) if is_last else "*"
        while self._offset < stop:
            self._offset = RETRY(self._put)(piece[self._offset - stop :], total)

    def cancel(self) -> None:
        """Give the upload up."""
        # What cannot be cancelled is seen by nobody, costs nothing, and is dropped by Google after a week.
        with suppress(*FOREIGN):
            self._connection.request("DELETE", self._url)

    def _put(self, data: bytes, total: str) -> int:
        """Send once, and tell up to where the server has all. It ignores what it is sent again."""
        stop = self._offset + len(data)
        headers = {"Content-Range": f"bytes {self._offset}-{stop - 1}/{total}", "Content-Type": CONTENT_TYPE}
        response = self._connection.request("PUT", self._url, data=data, headers=headers)
        if response.status_code != _INCOMPLETE:
            return stop
        # The range of what it has, both ends included; none where it has nothing yet.
        taken = int(response.headers["Range"].rpartition("-")[2]) + 1 if "Range" in response.headers else 0
        if taken <= self._offset or (taken >= stop and total != "*"):
            raise ServiceUnavailable("the upload does not go on")  # type: ignore[no-untyped-call]
        return min(taken, stop)
