"""A prefix of a storage, a folder or a URL as a store that zarr reads. It neither lists nor writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import NoReturn

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype

from lithops.exceptions import StorageError, StorageNoSuchKeyError
from lithops.wire.parts import DataKind, DataPart
from lithops.worker.formats.base import Access


class PartStore(Store):
    """What lies below the name of `part`.

    Parts are whole shards. What zarr wants a piece of is read whole, and kept for the other pieces.
    """

    def __init__(self, part: DataPart, access: Access) -> None:
        super().__init__(read_only=True)
        self._part = part
        self._access = access
        self._kept: dict[str, asyncio.Task[bytes | None]] = {}

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    @property
    def supports_writes(self) -> bool:
        return False

    @property
    def supports_deletes(self) -> bool:
        return False

    @property
    def supports_listing(self) -> bool:
        return False

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if byte_range is None:
            data = await asyncio.to_thread(self._read, key)
        else:
            # All of this runs in the one thread of zarr's event loop.
            if key not in self._kept:
                self._kept[key] = asyncio.create_task(asyncio.to_thread(self._read, key))
            data = await self._kept[key]
        return None if data is None else prototype.buffer.from_bytes(_piece(data, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        wanted = (self.get(key, prototype, byte_range) for key, byte_range in key_ranges)
        return list(await asyncio.gather(*wanted))

    async def exists(self, key: str) -> bool:
        return await asyncio.to_thread(self._read, key) is not None

    async def set(self, key: str, value: Buffer) -> None:  # noqa: ARG002 - the protocol's
        self._refuse(key)

    async def delete(self, key: str) -> None:
        self._refuse(key)

    def list(self) -> AsyncIterator[str]:
        self._refuse("")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        self._refuse(prefix)

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        self._refuse(prefix)

    def _refuse(self, key: str) -> NoReturn:
        raise NotImplementedError(f"{self._part.name} is only read, and by its keys: not '{key}'")

    def _read(self, key: str) -> bytes | None:
        """The key's value. None only if that is known not to exist: zarr takes it for a chunk never written."""
        part = self._part
        if part.kind is DataKind.URL:
            return self._read_url(key)
        name = "/".join(filter(None, (part.key or part.path, key)))
        try:
            if part.kind is DataKind.OBJECT:
                return self._access.storage.get(part.bucket, name)
            with open(name, "rb") as file:
                return file.read()
        except (StorageNoSuchKeyError, FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(
                f"the file '{name}' cannot be read on this machine: {error.strerror or error}"
            ) from error

    def _read_url(self, key: str) -> bytes | None:
        from lithops.worker.urls import is_missing

        address, question_mark, query = self._part.url.partition("?")
        url = f"{address.rstrip('/')}/{key}{question_mark}{query}"
        try:
            return b"".join(self._access.read(replace(self._part, url=url, has_ranges=False))(0, None))
        except StorageError as error:
            if is_missing(error):
                return None
            raise


def _piece(data: bytes, byte_range: ByteRequest | None) -> bytes:
    if byte_range is None:
        return data
    if isinstance(byte_range, RangeByteRequest):
        return data[byte_range.start : byte_range.end]
    if isinstance(byte_range, OffsetByteRequest):
        return data[byte_range.offset :]
    return data[max(0, len(data) - byte_range.suffix) :]
