"""The settings of everything that speaks S3: Amazon's own, and the relations.

A class carries what sets its service apart, so that one backend serves them all: the name under which the registry
knows it, how a bucket is written in a URL, how requests are signed, and where the service is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from lithops.accounts import AwsAccount
from lithops.exceptions import ConfigError
from lithops.settings import Secret

AddressingStyle = Literal["auto", "path", "virtual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsS3Config(AwsAccount):
    """Amazon S3, or a server that is reached with AWS's own credentials."""

    name: ClassVar[str] = "aws_s3"
    signature: ClassVar[str | None] = None

    storage_bucket: str | None = None
    """The bucket of everything that names no other; None: one whose name is derived from the account."""
    endpoint: str | None = None
    """The URL of a server that is not AWS's."""

    @property
    def addressing_style(self) -> AddressingStyle:
        return "auto" if self.endpoint is None else "path"

    def endpoint_url(self) -> str | None:
        """Where the service is; None: where the SDK finds it. Raises `ConfigError` for what is no URL."""
        return None if self.endpoint is None else _checked(self.name, self.endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Relation:
    """What the services that speak S3 without being Amazon's have in common."""

    name: ClassVar[str]
    signature: ClassVar[str | None] = None
    addressing_style: ClassVar[AddressingStyle] = "path"
    session_token: ClassVar[str | None] = None
    config_profile: ClassVar[str | None] = None
    account_id: ClassVar[str | None] = None
    derived_from: ClassVar[tuple[str, ...]] = ()
    """The settings from which the endpoint follows."""
    documented_endpoint: ClassVar[str] = ""
    """The form in which the provider documents its endpoints."""

    endpoint: str | None = None
    """The URL of the service."""
    access_key_id: Annotated[str, Secret()] | None = None
    secret_access_key: Annotated[str, Secret()] | None = None
    region: str | None = None
    storage_bucket: str | None = None
    """The bucket of everything that names no other; None: one whose name is derived from the account."""

    def endpoint_url(self) -> str:
        """Where the service is. Raises `ConfigError` if nothing says so, or for what is no URL."""
        if self.endpoint is not None:
            return _checked(self.name, self.endpoint)
        values = {setting: getattr(self, setting) for setting in self.derived_from}
        if not values or None in values.values():
            derived = f", or {' and '.join(self.derived_from)}" if values else ""
            raise ConfigError(
                f"{self.name}.endpoint: found nothing; set it to the URL of the service, "
                f"for example https://storage.example.com{derived}"
            )
        return self.documented_endpoint.format(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class MinioConfig(S3Relation):
    """A MinIO server."""

    name: ClassVar[str] = "minio"


@dataclass(frozen=True, slots=True, kw_only=True)
class CephConfig(S3Relation):
    """A Ceph cluster, by its RADOS gateway."""

    name: ClassVar[str] = "ceph"


@dataclass(frozen=True, slots=True, kw_only=True)
class IbmCosConfig(S3Relation):
    """IBM Cloud Object Storage, with HMAC credentials."""

    name: ClassVar[str] = "ibm_cos"
    derived_from: ClassVar[tuple[str, ...]] = ("region",)
    documented_endpoint: ClassVar[str] = "https://s3.{region}.cloud-object-storage.appdomain.cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class AliyunOssConfig(S3Relation):
    """Alibaba Cloud's Object Storage Service."""

    name: ClassVar[str] = "aliyun_oss"
    # It refuses path-style URLs, and asks users of boto3 to sign as S3 once did.
    signature: ClassVar[str | None] = "s3"
    addressing_style: ClassVar[AddressingStyle] = "virtual"
    derived_from: ClassVar[tuple[str, ...]] = ("region",)
    documented_endpoint: ClassVar[str] = "https://s3.oss-{region}.aliyuncs.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleOssConfig(S3Relation):
    """Oracle Cloud's Object Storage, with a customer secret key."""

    name: ClassVar[str] = "oracle_oss"
    derived_from: ClassVar[tuple[str, ...]] = ("namespace", "region")
    documented_endpoint: ClassVar[str] = "https://{namespace}.compat.objectstorage.{region}.oraclecloud.com"

    namespace: str | None = None
    """The tenancy's namespace of Object Storage."""


S3Config = AwsS3Config | S3Relation


def _checked(section: str, endpoint: str) -> str:
    scheme, separator, rest = endpoint.partition("://")
    if scheme not in ("http", "https") or not separator or not rest:
        raise ConfigError(
            f"{section}.endpoint: found {endpoint!r}; allowed is a URL that starts with http:// or https://"
        )
    return endpoint.rstrip("/")
