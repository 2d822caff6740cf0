"""Where sources lie that were uploaded: a bucket of the cloud's own, on a real storage server."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from urllib.parse import quote

import requests
from google_identity import PROJECT

BUCKET = f"gcf-v2-uploads-{PROJECT}"
_TIMEOUT_S = 30.0


class Sources(MutableMapping[str, bytes]):
    """The objects of the bucket, by name, over the storage's own REST."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        made = requests.post(f"{endpoint}/storage/v1/b", json={"name": BUCKET}, timeout=_TIMEOUT_S)
        if made.status_code != 409:  # another stand-in has made it
            made.raise_for_status()

    def __getitem__(self, name: str) -> bytes:
        found = requests.get(self._url(name), params={"alt": "media"}, timeout=_TIMEOUT_S)
        if found.status_code == 404:
            raise KeyError(name)
        found.raise_for_status()
        return found.content

    def __setitem__(self, name: str, source: bytes) -> None:
        url = f"{self._endpoint}/upload/storage/v1/b/{BUCKET}/o"
        parameters = {"uploadType": "media", "name": name}
        requests.post(url, source, params=parameters, timeout=_TIMEOUT_S).raise_for_status()

    def __delitem__(self, name: str) -> None:
        requests.delete(self._url(name), timeout=_TIMEOUT_S).raise_for_status()

    def __iter__(self) -> Iterator[str]:
        listed = requests.get(f"{self._endpoint}/storage/v1/b/{BUCKET}/o", timeout=_TIMEOUT_S).json()
        return iter([each["name"] for each in listed.get("items", ())])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _url(self, name: str) -> str:
        return f"{self._endpoint}/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}"
