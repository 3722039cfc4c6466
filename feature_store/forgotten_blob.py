"""Who was forgotten, as bytes: of each only a keyed hash of the id, and when.

The time is needed: what somebody did before it may come again, from a retry or when the log is read anew, and must stay away. The
id is not: the hash recognises it when it comes. The key is random and made once per store, so hashes of two installations, or of
one before and after its store was flushed, have nothing in common. Whoever can read the key can test an id that they already know.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Final

from feature_store.packing import CorruptBlob, sealed, unsealed

VERSION: Final = 1
HASH_BYTES: Final = 16
SALT_BYTES: Final = 32
_HEADER: Final = struct.Struct("<BI")
_TIME: Final = struct.Struct("<q")


def hash_of(user_id: str, salt: bytes) -> bytes:
    """The keyed hash that stands for an id (BLAKE2b, RFC 7693), 16 bytes.

    >>> hash_of("42", b"a") == hash_of("42", b"a"), hash_of("42", b"a") == hash_of("42", b"b"), len(hash_of("42", b"a"))
    (True, False, 16)
    """
    return hashlib.blake2b(user_id.encode(), digest_size=HASH_BYTES, key=salt).digest()


def pack_forgotten(times: Mapping[bytes, int]) -> bytes:
    """The blob of one partition.

    Args:
        times: `hash_of` each user to the log time up to which their events are ignored, ms.
    """
    rows = (digest + _TIME.pack(time) for digest, time in times.items())
    return sealed(b"".join((_HEADER.pack(VERSION, len(times)), *rows)))


def unpack_forgotten(blob: bytes) -> dict[bytes, int]:
    """Inverse of `pack_forgotten`.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    size = HASH_BYTES + _TIME.size
    try:
        _, count = _HEADER.unpack_from(body)
        if len(body) != _HEADER.size + count * size:
            raise CorruptBlob(f"forgotten blob: {len(body)} bytes do not hold {count} users")
        starts = range(_HEADER.size, len(body), size)
        return {body[at : at + HASH_BYTES]: _TIME.unpack_from(body, at + HASH_BYTES)[0] for at in starts}
    except struct.error as error:
        raise CorruptBlob(f"forgotten blob: {error}") from error
