"""Reads who was forgotten from the store, and makes the key of the hashes when there is none yet."""

from __future__ import annotations

import logging
import secrets
from typing import Final

from feature_store.forgotten_blob import SALT_BYTES, unpack_forgotten
from feature_store.keys import SALT, forgotten_key
from feature_store.packing import CorruptBlob
from feature_store.port import FeatureStore
from schemas.horizons import DAY_MS
from schemas.settings import Settings
from stream_workers.handlers.forgotten_users import ForgottenUsers

log = logging.getLogger(__name__)
_SLACK_MS: Final = 8 * DAY_MS  # Kafka deletes whole segments, which are a week old at most


async def read_forgotten(store: FeatureStore, partition: int, settings: Settings) -> ForgottenUsers:
    """The forgotten users of one partition.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    salt = await store.put_if_absent(SALT, secrets.token_bytes(SALT_BYTES))
    keep_ms = -1 if settings.retention_days < 0 else settings.retention_days * DAY_MS + _SLACK_MS
    blob = (await store.read([forgotten_key(partition)]))[0]
    try:
        times = {} if blob is None else unpack_forgotten(blob)
    except CorruptBlob as error:
        log.error("user partition %d: who was forgotten is not known, late events of theirs count: %s", partition, error)
        times = {}
    return ForgottenUsers(salt, times, keep_ms)
