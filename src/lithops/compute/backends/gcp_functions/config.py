"""How calls run on Google Cloud Functions: the section `gcp_functions` of the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from lithops.accounts import GcpAccount
from lithops.exceptions import ConfigError
from lithops.settings import Between, Like

_RESERVED = re.compile(
    r"X_GOOGLE_.*|K_(SERVICE|REVISION|CONFIGURATION)|PORT|FUNCTION_(TARGET|SIGNATURE_TYPE)|CLOUD_RUN_.*|LITHOPS_.*"
)
_VARIABLES_BYTES = 16 << 10
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_CONNECTOR = re.compile(r"(projects/[^/]+/locations/[^/]+/connectors/)?[a-z][a-z0-9-]{0,23}")
_EVENT_TIMEOUT_S = 540
EGRESS = ("private-ranges-only", "all-traffic")


def _are_variables(variables: dict[str, str]) -> bool:
    return all(
        re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) and not _RESERVED.fullmatch(name) for name in variables
    )


def _fit_environment(variables: dict[str, str]) -> bool:
    return sum(len(f"{name}{value}".encode()) for name, value in variables.items()) <= _VARIABLES_BYTES


def _are_labels(labels: dict[str, str]) -> bool:
    return len(labels) <= 56 and all(
        _LABEL_KEY.fullmatch(key) and not key.startswith("lithops-") and _LABEL_VALUE.fullmatch(value)
        for key, value in labels.items()
    )


def _is_network(vpc: dict[str, str]) -> bool:
    return not vpc or (
        {"connector"} <= vpc.keys() <= {"connector", "egress"}
        and _CONNECTOR.fullmatch(vpc["connector"]) is not None
        and vpc.get("egress", EGRESS[0]) in EGRESS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpFunctionsConfig(GcpAccount):
    """The section `gcp_functions`, with what the section `gcp` says of the account."""

    mode: ClassVar[str] = "serverless"
    own_storage: ClassVar[str] = "gcp_storage"
    """The storage that is used if none is named."""

    runtime: Annotated[
        str,
        Like(
            "small letters, digits and -, at most 40 of them, a letter first",
            re.compile(r"([a-z][a-z0-9-]{0,39})?").fullmatch,
        ),
    ] = ""
    """What `lithops runtime build` has made; empty: Google's own Python of this program's version."""
    runtime_memory: Annotated[int, Between(128, 32768)] = 256
    """MiB, with the CPU that Google gives with them."""
    runtime_timeout: Annotated[int, Between(1, 3600)] = 300
    """Seconds after which Google ends an activation; at most 540 with the trigger `pub/sub`."""
    trigger: Literal["https", "pub/sub"] = "https"
    """`https`: each activation is a request, and results of short calls come back in its response. `pub/sub`: each is
    an event, and all results come through the storage."""
    max_workers: Annotated[int, Between(1)] = 1000
    """Never more activations, nor instances, at once than this."""
    worker_processes: Annotated[int, Between(1, 64)] = 1
    """How many calls of a task run at once in one activation."""
    service_account: (
        Annotated[
            str,
            Like("the email address of a service account", re.compile(r"[^@\s]+@[^@\s]+\.com").fullmatch),
        ]
        | None
    ) = None
    """The identity under which functions run; None: the default one of Compute Engine."""
    namespace: (
        Annotated[
            str,
            Like(
                "1 to 12 small letters, digits and -, a letter first",
                re.compile(r"[a-z][a-z0-9-]{0,11}").fullmatch,
            ),
        ]
        | None
    ) = None
    """Part of the names of all that is deployed: keeps users of one project apart."""
    env_vars: Annotated[
        dict[str, str],
        Like(
            "names of letters, digits and _ that Google and this library do not keep for themselves (PORT, K_SERVICE, "
            "FUNCTION_TARGET, LITHOPS_...)",
            _are_variables,
        ),
        Like("at most 16384 bytes in all", _fit_environment),
    ] = field(default_factory=dict)
    """Environment variables of all functions. Whoever may look at a function can read them."""
    user_tags: Annotated[
        dict[str, str],
        Like(
            "at most 56 labels of small letters, digits, _ and -, at most 63 of them; no key begins with lithops-",
            _are_labels,
        ),
    ] = field(default_factory=dict)
    """Labels of all functions, for the bill for example."""
    vpc: Annotated[
        dict[str, str],
        Like(
            "connector (the name of a Serverless VPC Access connector) and, if wanted, egress "
            f"({' or '.join(EGRESS)})",
            _is_network,
        ),
    ] = field(default_factory=dict)
    """The network that functions reach through a connector."""

    def __post_init__(self) -> None:
        if self.trigger == "pub/sub" and self.runtime_timeout > _EVENT_TIMEOUT_S:
            raise ConfigError(
                f"gcp_functions.runtime_timeout: found {self.runtime_timeout} with the trigger pub/sub; allowed is a "
                f"whole number, from 1 to {_EVENT_TIMEOUT_S}; with the trigger https, up to 3600"
            )
