"""The rule of how often requests are tried again, as the SDK takes it."""

from __future__ import annotations

from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.storage.blob import ExponentialRetry

from lithops.storage.patience import ATTEMPTS, pause_s

_RETRIES = ATTEMPTS - 1


class Patience(ExponentialRetry):
    """The SDK's own first pause is 15 s."""

    def __init__(self) -> None:
        super().__init__(
            retry_total=_RETRIES, retry_connect=_RETRIES, retry_read=_RETRIES, retry_status=_RETRIES
        )

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        return pause_s(settings["count"])

    def increment(
        self, settings: dict[str, Any], request: Any, response: Any = None, error: AzureError | None = None
    ) -> bool:
        """Whether to try again after this answer, or this error."""
        if response is not None:
            # One that is to be streamed holds its connection as long as nobody reads it.
            response.internal_response.close()
        # Who has no credentials gets none by asking again.
        return not isinstance(error, ClientAuthenticationError) and super().increment(
            settings, request, response, error
        )
