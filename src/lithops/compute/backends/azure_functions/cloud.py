"""Everything that a backend needs of Azure, opened when it is first needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lithops.clock import Clock
from lithops.compute.backends.azure_functions.config import AzureFunctionsConfig
from lithops.compute.backends.azure_functions.custom import CustomRuntimes
from lithops.compute.backends.azure_functions.front import Front
from lithops.compute.backends.azure_functions.publishing import Publisher
from lithops.compute.backends.azure_functions.queues import Queues, queues_url
from lithops.compute.backends.azure_functions.records import Records
from lithops.compute.backends.azure_functions.resources import Insights, Placing, Resources
from lithops.storage.backends.azure_storage.account import Account
from lithops.storage.backends.azure_storage.backend import AzureStorage
from lithops.storage.backends.azure_storage.config import AzureStorageConfig

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential


class Cloud:
    """The clients of one configuration, which share an identity. Safe in threads."""

    def __init__(self, config: AzureFunctionsConfig, account: Account, clock: Clock, poll_s: float) -> None:
        # Slow to import, and not needed by who only looks at the configuration.
        from azure.identity import DefaultAzureCredential

        self._config = config
        self._account = account
        self._insights = _Found()
        self.credential: DefaultAzureCredential = DefaultAzureCredential()
        url = config.resource_manager.rstrip("/")
        self._resource_manager = url
        self.resources = Resources(
            self.credential, config.subscription_id or "", config.resource_group or "", url
        )
        self.publisher = Publisher(self.credential, url, clock, poll_s)
        self.queues_url = queues_url(account, config.queue_endpoint)
        self.queues = Queues(self.queues_url, account, self.credential)
        self.front = Front(config.max_workers)
        self.storage = AzureStorage(storage_config(config))
        self.custom = CustomRuntimes(self.storage)
        self._records: Records | None = None

    def region(self) -> str:
        """That of the configuration, or of the resource group."""
        return self._config.region or str(self.resources.group()["location"])

    def placing(self) -> Placing:
        config = self._config
        subnet = config.vpc.get("subnet")
        return Placing(
            self.region(), self._account, self.queues_url, config.identity, subnet, config.user_tags
        )

    def insights(self, *, create: bool = False) -> Insights | None:
        """The Application Insights of the configuration, where there is one."""
        name = self._config.application_insights
        if name is None:
            return None
        if self._insights.value is None and (create or not self._insights.was_asked):
            region = self.region() if create else ""
            self._insights = _Found(True, self.resources.insights(name, region, create=create))
        return self._insights.value

    def records(self) -> Records | None:
        """Where what became of activations is looked up; None where nothing is recorded."""
        if self._records is None:
            insights = self.insights()
            if insights is not None:
                self._records = Records(self.credential, self._resource_manager, insights.app_id)
        return self._records

    def close(self) -> None:
        for part in (self.resources, self.publisher, self.queues, self.front, self.storage, self.credential):
            part.close()
        if self._records is not None:
            self._records.close()


@dataclass(frozen=True, slots=True)
class _Found:
    was_asked: bool = False
    value: Insights | None = None


def storage_config(config: AzureFunctionsConfig) -> AzureStorageConfig:
    """The functions' storage account, as the storage backend takes it."""
    return AzureStorageConfig(
        storage_account_name=config.storage_account_name,
        storage_account_key=config.storage_account_key,
        endpoint=config.endpoint,
    )
