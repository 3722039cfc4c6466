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
