"""Large objects in parts, some of which travel at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from lithops.exceptions import StorageError
from lithops.storage.bodies import send_pieces

PART_BYTES = 8 << 20
_PARTS_OF_A_SIZE = 1000

_logger = logging.getLogger(__name__)

Call = Callable[..., Any]
"""Makes a request of the SDK's client by its name, patiently, for one object."""


def part_sizes() -> Iterator[int]:
    """The sizes of all parts: an upload has 10,000 at most, and nobody knows beforehand how long a stream is."""
    return (PART_BYTES << (number // _PARTS_OF_A_SIZE) for number in count())


def upload(
    call: Call,
    parts: Iterable[bytes],
    metadata: dict[str, str],
    complete: Callable[[dict[str, Any]], None],
) -> None:
    """Store the parts as one object, by `complete` with the arguments that name the upload.

    Whatever goes wrong, in the source of the parts too, is raised as it is, and nothing is left behind.
    """
    upload_id = call("create_multipart_upload", Metadata=metadata)["UploadId"]
    try:
        sent = _send(call, parts, upload_id)
        complete({"UploadId": upload_id, "MultipartUpload": {"Parts": sent}})
    except BaseException:
        _abort(call, upload_id)
        raise


def _send(call: Call, parts: Iterable[bytes], upload_id: str) -> list[dict[str, Any]]:
    def send(number: int, part: bytes) -> dict[str, Any]:
        answer = call("upload_part", UploadId=upload_id, PartNumber=number + 1, Body=part)
        # Where the SDK added a checksum to the part, the completion has to repeat it.
        proofs = {name: answer[name] for name in ("ETag", "ChecksumCRC32") if name in answer}
        return {"PartNumber": number + 1, **proofs}

    return send_pieces(send, parts)


def _abort(call: Call, upload_id: str) -> None:
    try:
        call("abort_multipart_upload", UploadId=upload_id)
    except StorageError as error:
        # What ended the upload is what its user has to know.
        _logger.warning("the parts of an upload could not be removed, and may cost: %s", error)
