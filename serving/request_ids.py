"""Ids that sort by time: ULIDs (48 bits of milliseconds, 80 random bits, 26 characters of Crockford's base 32)."""

from __future__ import annotations

from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Two characters at a time halve the number of divisions.
_PAIRS: Final = [high + low for high in _ALPHABET for low in _ALPHABET]
RANDOM_BYTES: Final = 10


def new_ulid(now_ms: int, entropy: bytes) -> str:
    """The ULID of a moment.

    Args:
        now_ms: ms since the epoch.
        entropy: 10 random bytes.

    >>> new_ulid(1767258000120, bytes(10))
    '01KDWCJ2QR0000000000000000'
    """
    number = now_ms << 80 | int.from_bytes(entropy, "big")
    pairs = []
    for _ in range(13):
        number, pair = divmod(number, 1024)
        pairs.append(_PAIRS[pair])
    return "".join(reversed(pairs))
