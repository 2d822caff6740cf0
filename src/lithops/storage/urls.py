"""How objects are named wherever a name has to say which storage it means."""

from __future__ import annotations

SCHEMES = {
    "aws_s3": "s3",
    "minio": "s3",
    "ceph": "s3",
    "gcp_storage": "gs",
    "azure_storage": "az",
    "ibm_cos": "cos",
}
"""The schemes that are in common use, by backend; others are named by the backend itself."""


def object_url(backend: str, bucket: str, key: str) -> str:
    """The object as ``scheme://bucket/key``."""
    return f"{SCHEMES.get(backend, backend)}://{bucket}/{key}"
