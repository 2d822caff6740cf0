"""How calls run on Azure Functions: the section `azure_functions` of the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from lithops.accounts import AzureAccount
from lithops.settings import Between, Like, OneOf, Secret

MEMORY_SIZES_MB = (512, 2048, 4096)
"""What an instance of the flex consumption plan may have."""


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEPT = re.compile(
    r"(?:AzureWebJobs|APPLICATIONINSIGHTS_|FUNCTIONS_|IDENTITY_|LITHOPS_|SCM_|WEBSITE_).*|ENABLE_ORYX_BUILD",
    re.IGNORECASE,
)
_TAG_NAME = re.compile(r"[^<>%&\\?/]{1,512}")
_SUBNET = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/virtualNetworks/[^/]+/subnets/[^/]+",
    re.IGNORECASE,
)
_IDENTITY = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+",
    re.IGNORECASE,
)
_Url = Annotated[str, Like("a URL that begins with https://", re.compile(r"https://\S+").fullmatch)]


def _are_variables(variables: dict[str, str]) -> bool:
    return all(_VARIABLE.fullmatch(name) and not _KEPT.fullmatch(name) for name in variables)


def _are_tags(tags: dict[str, str]) -> bool:
    return len(tags) <= 40 and all(
        _TAG_NAME.fullmatch(name) and not name.lower().startswith("lithops") and len(value) <= 256
        for name, value in tags.items()
    )


def _is_network(vpc: dict[str, str]) -> bool:
    return not vpc or (vpc.keys() == {"subnet"} and bool(_SUBNET.fullmatch(vpc["subnet"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureFunctionsConfig(AzureAccount):
    """The section `azure_functions`, with what the section `azure` says of the account."""

    mode: ClassVar[str] = "serverless"
    own_storage: ClassVar[str] = "azure_storage"
    """The storage that is used if none is named."""
    shared_keys: ClassVar[dict[str, tuple[str, ...]]] = {
        "azure_storage": ("storage_account_name", "storage_account_key")
    }
    """Keys that are taken from another section where this one does not have them."""

    runtime: Annotated[
        str,
        Like("1 to 60 letters, digits, . _ and -", re.compile(r"[A-Za-z0-9._-]{0,60}").fullmatch),
    ] = ""
    """What `lithops runtime build` has made; empty: Azure's own Python of this program's version."""
    runtime_memory: Annotated[int, Between(1, 4096)] = 1536
    """MB. Azure has instances of 512, 2048 and 4096: the next larger is taken."""
    runtime_timeout: Annotated[int, Between(1, 86_400)] = 300
    """Seconds after which Azure ends an activation. Beyond an hour it may end it whenever it needs the machine."""
    trigger: Annotated[str, OneOf(("https", "pub/sub"))] = "https"
    """`https`: each activation is a request, results come back in its response. `pub/sub`: each is a message in a
    queue, and results come through the storage."""
    max_workers: Annotated[int, Between(1, 1000)] = 1000
    """Never more activations at once than this."""
    worker_processes: Annotated[int, Between(1, 16)] = 1
    """How many calls of a task run at once in one activation."""
    namespace: (
        Annotated[
            str,
            Like(
                "1 to 20 small letters, digits and -, a letter first",
                re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){0,19}").fullmatch,
            ),
        ]
        | None
    ) = None
    """What the names of all that is deployed begin with: keeps users, or projects, of one account apart."""
    env_vars: Annotated[
        dict[str, str],
        Like(
            "names of letters, digits and _ that Azure and this library do not keep for themselves (AzureWebJobs..., "
            "FUNCTIONS_..., WEBSITE_..., LITHOPS_...)",
            _are_variables,
        ),
    ] = field(default_factory=dict)
    """Environment variables of all functions. Whoever may look at the function app can read them."""
    user_tags: Annotated[
        dict[str, str],
        Like(
            r"at most 40 tags: names of 1 to 512 characters without <>%&\?/ that do not begin with lithops, values of "
            "up to 256",
            _are_tags,
        ),
    ] = field(default_factory=dict)
    """Tags of all function apps, for the bill for example."""
    vpc: Annotated[
        dict[str, str],
        Like(
            "subnet: the resource ID of a subnet that is delegated to Microsoft.App/environments", _is_network
        ),
    ] = field(default_factory=dict)
    """The virtual network that the functions are to be in."""
    identity: (
        Annotated[str, Like("the resource ID of a user-assigned managed identity", _IDENTITY.fullmatch)]
        | None
    ) = None
    """The identity under which functions run; None: each function app gets one of its own, and its roles."""
    application_insights: (
        Annotated[str, Like("1 to 255 letters, digits, . _ and -", re.compile(r"[\w.-]{1,255}").fullmatch)]
        | None
    ) = "lithops"
    """The Application Insights of the resource group that tells why activations died; it is made where there is none.
    None: none."""
    storage_account_name: str | None = None
    """The account of the functions' packages and queues; None: that of `azure_storage`, or of the environment."""
    storage_account_key: Annotated[str, Secret()] | None = field(default=None, repr=False)
    """With it this program, and it alone, opens the account; None: the identity that Azure's own tools would find."""
    endpoint: _Url | None = None
    """The URL of the account's blobs where it is not Azure's own, as in a sovereign cloud."""
    queue_endpoint: _Url | None = None
    """The URL of the account's queues; None: it follows from that of its blobs."""
    resource_manager: _Url = "https://management.azure.com"
    """The URL of Azure's resource manager; sovereign clouds have their own."""


def memory_size(memory_mb: int) -> int | None:
    """The instance that has so much memory; None where there is none."""
    return next((size for size in MEMORY_SIZES_MB if size >= memory_mb), None)
