"""Requests to function apps: one for each activation, and what becomes of it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from enum import Enum, auto
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from lithops.compute.backends.azure_functions import ROUTE
from lithops.compute.base import ComputeError, ResponseLost, Throttled

GATEWAY_S = 230.0
"""Azure's load balancer waits for no response longer than this. The activation goes on."""
_CONNECT_S = 10.0
_SILENCE_S = 20.0
"""A response is waited for so much longer than Azure does."""
_AT_ONCE_S = 2.0
"""Refusals come sooner than this. What comes later may be of an activation that has begun."""


class Outcome(Enum):
    """What an answer means."""

    DONE = auto()
    """The function has answered."""
    REFUSED = auto()
    """The activation was not started."""
    DIED = auto()
    """The activation has ended without an answer."""
    UNCLEAR = auto()
    """The activation was not started, or has died."""
    GOES_ON = auto()
    """The answer is no longer waited for; what the activation reports goes through the storage."""
    WRONG = auto()
    """The request will never be taken."""


def outcome_of(status: int, elapsed_s: float) -> Outcome:
    """What the front end's status means, so many seconds after the request."""
    if status == 200:
        return Outcome.DONE
    if status == 429:
        return Outcome.REFUSED
    if status == 504 or (status >= 500 and elapsed_s >= GATEWAY_S - 1):
        return Outcome.GOES_ON
    if status == 503:
        return Outcome.REFUSED if elapsed_s < _AT_ONCE_S else Outcome.UNCLEAR
    return Outcome.DIED if status >= 500 else Outcome.WRONG


@dataclass(frozen=True, slots=True)
class Address:
    """Where an app's functions are called, and by which key."""

    name: str
    host: str
    key: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"https://{self.host}/api/{ROUTE}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back on the connection."""

    status: int
    body: bytes
    elapsed_s: float

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.status, self.elapsed_s)


class Front:
    """Makes the requests, over so many connections at once. Safe in threads."""

    def __init__(self, connections: int) -> None:
        self._session = requests.Session()
        # Azure's cookies would send every request to the instance that answered the first.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("https://", HTTPAdapter(pool_connections=8, pool_maxsize=connections))

    def post(self, address: Address, activation_id: str, body: bytes) -> Answer:
        """Start an activation, which is known to Azure by its name of 32 hexadecimal digits, and wait for its end.

        Raises `Throttled` where it cannot have been started, and `ResponseLost` where it may have.
        """
        headers = {
            "x-functions-key": address.key,
            "traceparent": f"00-{activation_id}-{activation_id[:16]}-01",
            "Content-Type": "application/json",
        }
        try:
            response = self._session.post(
                address.url, data=body, headers=headers, timeout=(_CONNECT_S, GATEWAY_S + _SILENCE_S)
            )
        except requests.RequestException as error:
            raise _unanswered(error, address) from error
        return Answer(response.status_code, response.content, response.elapsed.total_seconds())

    def close(self) -> None:
        self._session.close()


def _unanswered(error: requests.RequestException, address: Address) -> ComputeError:
    where = f"the function app '{address.name}' at {address.host}"
    cause = error.args[0] if error.args else None
    if isinstance(error, requests.exceptions.SSLError) or isinstance(cause, ssl.SSLError):
        return ComputeError(f"{where} has no certificate that this machine trusts: {error}")
    refused = isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
    if refused or isinstance(error, requests.ConnectTimeout):
        return Throttled(f"{where} takes no connection: {error}")
    return ResponseLost(f"the connection to {where} broke: {error}")
