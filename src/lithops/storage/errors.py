"""Errors that read alike whatever storage they are of."""

from __future__ import annotations

from lithops.exceptions import AlreadyExists, NoSuchBucket


def called(bucket: str, key: str = "") -> str:
    """The object as messages name it; the bucket, where there is no key."""
    return f"object '{key}' of bucket '{bucket}'" if key else f"bucket '{bucket}'"


def no_bucket(bucket: str) -> NoSuchBucket:
    return NoSuchBucket(f"there is no bucket '{bucket}'; check the name, or create it")


def already_exists(bucket: str, key: str) -> AlreadyExists:
    return AlreadyExists(f"there is an {called(bucket, key)} already; put without if_absent to replace it")
