"""Which events of a user are known already, by the hashes of their identities, hour by hour of log time."""

from __future__ import annotations

import hashlib
from typing import Final

from feature_store.user_blob import EVENT_ID_BYTES

_HOURLY_EVENT_IDS: Final = 100_000  # per user: a bound on memory, far beyond what a person does in an hour


def note(seen: dict[int, bytearray], identity: str, hour: int, keep_hours: int) -> bool:
    """Note an event's identity; False if it was noted before.

    Args:
        seen: hour to concatenated hashes, changed in place; hours that are more than `keep_hours` before this one go.
    """
    digest = hashlib.blake2b(identity.encode(), digest_size=EVENT_ID_BYTES).digest()
    for hashes in seen.values():
        if digest in hashes and contains(hashes, digest):
            return False
    if hour not in seen:
        seen[hour] = bytearray()
        for old in [h for h in seen if h < hour - keep_hours]:
            del seen[old]
    seen[hour] += digest
    if len(seen[hour]) > _HOURLY_EVENT_IDS * EVENT_ID_BYTES:
        del seen[hour][:EVENT_ID_BYTES]
    return True


def contains(hashes: bytearray, digest: bytes) -> bool:
    """Whether one of the hashes is this one."""
    at = hashes.find(digest)
    while at > 0 and at % EVENT_ID_BYTES:  # a match across two neighbouring hashes is none
        at = hashes.find(digest, at + 1)
    return at >= 0
