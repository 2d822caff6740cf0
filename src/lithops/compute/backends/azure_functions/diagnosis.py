"""What `lithops doctor` finds out about Azure Functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from lithops.compute.backends.azure_functions.cloud import Cloud
from lithops.compute.backends.azure_functions.config import AzureFunctionsConfig
from lithops.compute.backends.azure_functions.errors import translate_errors
from lithops.compute.backends.azure_functions.plan import PYTHONS
from lithops.compute.backends.azure_functions.roles import missing_actions, needed_actions
from lithops.compute.base import ComputeError, Finding
from lithops.exceptions import StorageError
from lithops.storage.backends.azure_storage.account import Account


def diagnose(
    open_cloud: Callable[[], Cloud], config: AzureFunctionsConfig, account: Account
) -> Iterator[Finding]:
    """One finding after the other; what cannot be looked at is a finding too."""
    yield _python()
    try:
        cloud = open_cloud()
    except ImportError as error:
        yield Finding("packages", False, f"{error}; run: pip install 'lithops[azure]'")
        return
    looks: dict[str, Callable[[], str]] = {
        "identity": lambda: _identity(cloud, config),
        "resource group": lambda: f"'{config.resource_group}' is in {cloud.resources.group()['location']}",
        "region": lambda: f"functions go to {cloud.region()}",
        "storage account": lambda: cloud.resources.account_id(account.name),
        "objects of the account": lambda: _objects(cloud, account),
        "permissions": lambda: _permissions(cloud, config),
        "Application Insights": lambda: _insights(cloud, config),
        "runtimes": lambda: _runtimes(cloud),
    }
    for what, look in looks.items():
        try:
            yield Finding(what, True, look())
        except (ComputeError, StorageError) as error:
            yield Finding(what, False, str(error))


def _python() -> Finding:
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if python in PYTHONS:
        return Finding("Python", True, f"{python}, which Azure Functions has")
    return Finding(
        "Python", False, f"{python}, which Azure Functions does not have; take one of {', '.join(PYTHONS)}"
    )


def _identity(cloud: Cloud, config: AzureFunctionsConfig) -> str:
    with translate_errors("asking for a token"):
        cloud.credential.get_token(f"{config.resource_manager.rstrip('/')}/.default")
    return "Azure gives this identity a token"


def _objects(cloud: Cloud, account: Account) -> str:
    cloud.storage.bucket_exists("lithops-runtimes")
    return f"'{account.name}' can be read at {account.endpoint}"


def _permissions(cloud: Cloud, config: AzureFunctionsConfig) -> str:
    needed = needed_actions(own_identity=config.identity is None)
    missing = missing_actions(needed, cloud.resources.permissions())
    if missing:
        raise ComputeError(f"missing are {', '.join(missing)}; ask for the role that is printed below")
    return f"all of the {len(needed)} actions that are needed are allowed"


def _insights(cloud: Cloud, config: AzureFunctionsConfig) -> str:
    if config.application_insights is None:
        return "none is wanted: of activations that die only the message is known"
    found = cloud.insights()
    where = f"'{config.application_insights}'"
    return f"{where} is there" if found else f"{where} will be made with the first deployment"


def _runtimes(cloud: Cloud) -> str:
    names = [app.name for app in cloud.resources.apps() if app.is_ready]
    return f"{len(names)} function apps are deployed: {', '.join(names) or 'none'}"
