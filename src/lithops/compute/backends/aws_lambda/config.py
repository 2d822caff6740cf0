"""How calls run on AWS Lambda: the section `aws_lambda` of the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from lithops.accounts import AwsAccount
from lithops.exceptions import ConfigError
from lithops.settings import Between, Like

_RESERVED = re.compile(
    r"AWS_(REGION|DEFAULT_REGION|ACCESS_KEY(_ID)?|SECRET_(ACCESS_)?KEY|SESSION_TOKEN|LAMBDA_.*|EXECUTION_ENV)"
    r"|LAMBDA_(TASK_ROOT|RUNTIME_DIR)"
)
_ENVIRONMENT_BYTES = 4096
_TAG = re.compile(r"[\w\s+\-=.:/@]*")
_MOUNT = re.compile(r"/mnt/[a-zA-Z0-9-_.]+")


def _are_variables(variables: dict[str, str]) -> bool:
    return all(
        re.fullmatch(r"[a-zA-Z]\w+", name, re.ASCII) and not _RESERVED.fullmatch(name) for name in variables
    )


def _fit_environment(variables: dict[str, str]) -> bool:
    return environment_bytes(variables) <= _ENVIRONMENT_BYTES


def _are_tags(tags: dict[str, str]) -> bool:
    return len(tags) <= 40 and all(
        1 <= len(key) <= 128
        and len(value) <= 256
        and not key.lower().startswith(("aws:", "lithops:"))
        and _TAG.fullmatch(key + value)
        for key, value in tags.items()
    )


def _is_network(vpc: dict[str, list[str]]) -> bool:
    return not vpc or (
        vpc.keys() == {"subnets", "security_groups"}
        and 1 <= len(vpc["subnets"]) <= 16
        and 1 <= len(vpc["security_groups"]) <= 5
        and all(name.startswith("subnet-") for name in vpc["subnets"])
        and all(name.startswith("sg-") for name in vpc["security_groups"])
    )


def _are_mounts(mounts: list[dict[str, str]]) -> bool:
    return len(mounts) <= 1 and all(
        mount.keys() == {"access_point", "mount_path"}
        and ":access-point/" in mount["access_point"]
        and _MOUNT.fullmatch(mount["mount_path"])
        for mount in mounts
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsLambdaConfig(AwsAccount):
    """The section `aws_lambda`, with what the section `aws` says of the account."""

    mode: ClassVar[str] = "serverless"
    own_storage: ClassVar[str] = "aws_s3"
    """The storage that is used if none is named."""

    execution_role: (
        Annotated[
            str,
            Like(
                "the name or the ARN of an IAM role",
                re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+|[\w+=,.@-]{1,64}").fullmatch,
            ),
        ]
        | None
    ) = None
    """The role under which functions run: its name or ARN; None: one is made that may do what functions need."""
    runtime: Annotated[
        str,
        Like(
            "letters, digits and ._-/:@, at most 160 of them",
            re.compile(r"[\w.\-/:@]{0,160}", re.ASCII).fullmatch,
        ),
    ] = ""
    """What `lithops runtime build` has made, or the URI of an image; empty: Lambda's own Python of this program's
    version."""
    runtime_memory: Annotated[int, Between(128, 10240)] = 256
    """MB. A function has one CPU for each 1,769 of them."""
    runtime_timeout: Annotated[int, Between(1, 900)] = 180
    """Seconds after which Lambda ends an activation."""
    max_workers: Annotated[int, Between(1)] = 1000
    """Never more activations at once than this."""
    worker_processes: Annotated[int, Between(1, 6)] = 1
    """How many calls of a task run at once in one activation. Lambda has 6 CPUs at most."""
    invoke_pool_threads: Annotated[int, Between(1, 512)] = 64
    """How many requests to Lambda may be under way at once."""
    invocation: Literal["auto", "direct", "event"] = "auto"
    """`direct`: results come back in the answer to the request that started them, and no more activations run at once
    than `invoke_pool_threads`. `event`: they come through the storage. `auto`: half of the threads wait for answers."""
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    ephemeral_storage: Annotated[int, Between(512, 10240)] = 512
    """MB of ``/tmp``."""
    namespace: (
        Annotated[str, Like("1 to 20 letters, digits, - and _", re.compile(r"[A-Za-z0-9_-]{1,20}").fullmatch)]
        | None
    ) = None
    """Part of the names of all that is deployed: keeps users, or projects, of one account apart."""
    env_vars: Annotated[
        dict[str, str],
        Like(
            "names of at least two letters, digits and _ that Lambda does not keep for itself (AWS_REGION, "
            "AWS_LAMBDA_...)",
            _are_variables,
        ),
        Like("at most 4096 bytes in all", _fit_environment),
    ] = field(default_factory=dict)
    """Environment variables of all functions. Whoever may look at the function can read them."""
    user_tags: Annotated[
        dict[str, str],
        Like(
            "at most 40 tags: keys of 1 to 128 and values of up to 256 letters, digits, spaces and _.:/=+-@, where no "
            "key begins with aws: or lithops:",
            _are_tags,
        ),
    ] = field(default_factory=dict)
    """Tags of all functions, for the bill for example."""
    vpc: Annotated[
        dict[str, list[str]],
        Like(
            "subnets (1 to 16 names like subnet-0a1b) and security_groups (1 to 5 names like sg-0a1b)",
            _is_network,
        ),
    ] = field(default_factory=dict)
    """The network into which functions are placed. It needs a way to the storage: an endpoint for S3, or NAT."""
    efs: Annotated[
        list[dict[str, str]],
        Like(
            "one entry of access_point (the ARN of an access point of EFS) and mount_path (like /mnt/data)",
            _are_mounts,
        ),
    ] = field(default_factory=list)
    """A file system that functions see as a folder. It needs `vpc`."""
    runtime_include_function: bool = False
    """Accepted for configurations of earlier releases, and makes no difference: functions are stored once for each
    content, and a warm worker loads each once."""

    def __post_init__(self) -> None:
        if self.efs and not self.vpc:
            raise ConfigError(
                "aws_lambda.efs: found a file system without aws_lambda.vpc; set subnets and security_groups from "
                "which it can be reached"
            )

    @property
    def connections(self) -> int:
        """How many requests may wait for their activation's end."""
        shares = {"direct": self.invoke_pool_threads, "auto": self.invoke_pool_threads // 2, "event": 0}
        return shares[self.invocation]

    @property
    def most_activations(self) -> int:
        if self.invocation == "direct":
            return min(self.max_workers, self.invoke_pool_threads)
        return self.max_workers


def environment_bytes(variables: dict[str, str]) -> int:
    """What environment variables take of the 4 KB that a function has for them."""
    return sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
