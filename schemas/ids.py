"""Ids and the partition an id belongs to."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

MAX_ID_BYTES = 256


def _within_bytes(value: str) -> str:
    if not value.isascii() and len(value.encode()) > MAX_ID_BYTES:
        raise ValueError(f"must be at most {MAX_ID_BYTES} bytes of UTF-8")
    return value


Id = Annotated[
    str,
    # C0, DEL and C1 control characters are refused: ids end up in keys, logs and headers.
    StringConstraints(strict=True, min_length=1, max_length=MAX_ID_BYTES, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    AfterValidator(_within_bytes),
]
"""1 to 256 bytes of UTF-8 without control characters."""

PlainId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID_BYTES)]
"""An `Id` from a text that is known to hold ASCII without control characters: the same rule, three times as fast to check."""


def is_plain(json: bytes) -> bool:
    """Whether every string in this JSON is ASCII without control characters: raw ones below 0x20 are no JSON, and escapes
    need a backslash.

    >>> is_plain(b'{"user_id":"42"}'), is_plain(b'{"user_id":"a' + bytes((0x5C,)) + b'u0000"}')
    (True, False)
    """
    return json.isascii() and b"\\" not in json and b"\x7f" not in json


def murmur2(key: bytes) -> int:
    """Kafka's 32-bit murmur2 hash of a record key (Java client, `Utils.murmur2`), unsigned.

    >>> murmur2(b"21") - 2**32  # the value in Kafka's own UtilsTest
    -973932308
    """
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    length = len(key)
    h = (0x9747B28C ^ length) & mask
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if length > whole:
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


@lru_cache(maxsize=200_000)
def partition_of(identifier: str, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a record whose key is this id.

    Args:
        identifier: user id, or item id for `items` and `item-signals`.
        partitions: partition count of the topic, >= 1.

    >>> partition_of("42", 4) in range(4)
    True
    """
    return (murmur2(identifier.encode()) & 0x7FFFFFFF) % partitions
