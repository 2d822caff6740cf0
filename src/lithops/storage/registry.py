"""The storage backends by name. A new one is one row here."""

from __future__ import annotations

from typing import Any

from lithops.registry import Registry, Row
from lithops.storage import credentials
from lithops.storage.base import StorageBackend
from lithops.wire.messages import StorageRef


def _s3(config: str) -> Row:
    """One backend serves all that speak S3; what each has of its own is in its configuration."""
    return Row(
        f"lithops.storage.backends.aws_s3.config:{config}",
        "lithops.storage.backends.aws_s3.backend:S3Storage",
        extra="aws",
    )


_registry = Registry(
    "storage",
    "lithops.storage",
    {
        "localhost": Row(
            "lithops.storage.backends.localhost.config:LocalhostStorageConfig",
            "lithops.storage.backends.localhost.backend:LocalhostStorage",
        ),
        "aws_s3": _s3("AwsS3Config"),
        "minio": _s3("MinioConfig"),
        "ceph": _s3("CephConfig"),
        "ibm_cos": _s3("IbmCosConfig"),
        "aliyun_oss": _s3("AliyunOssConfig"),
        "oracle_oss": _s3("OracleOssConfig"),
        "gcp_storage": Row(
            "lithops.storage.backends.gcp_storage.config:GcpStorageConfig",
            "lithops.storage.backends.gcp_storage.backend:GcpStorage",
            extra="gcp",
        ),
        "azure_storage": Row(
            "lithops.storage.backends.azure_storage.config:AzureStorageConfig",
            "lithops.storage.backends.azure_storage.backend:AzureStorage",
            extra="azure",
        ),
        "redis": Row(
            "lithops.storage.backends.redis.config:RedisConfig",
            "lithops.storage.backends.redis.backend:RedisStorage",
            extra="redis",
        ),
    },
)

backend_names = _registry.names
config_class = _registry.config_class
row = _registry.rows.get
"""Where the built-in backend of that name is; None for one of another package."""


def create(name: str, config: Any) -> StorageBackend:
    """The backend `name`, made of its configuration (an instance of `config_class(name)`)."""
    credentials.remember(name, config)
    return _create(name, credentials.complete(name, config, from_memory=False))


def from_reference(ref: StorageRef) -> StorageBackend:
    """The storage that a reference names. Credentials are those that this process has for it, or runs under."""
    config = config_class(ref.backend)(**{**ref.options, "storage_bucket": ref.bucket})
    return _create(ref.backend, credentials.complete(ref.backend, config, from_memory=True))


def _create(name: str, config: Any) -> StorageBackend:
    backend: StorageBackend = _registry.create(name, config)
    return backend
