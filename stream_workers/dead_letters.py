"""Records that cannot be applied, as `dead-letters` values."""

from __future__ import annotations

import base64
from typing import Final

import orjson
from aiokafka.structs import ConsumerRecord

from schemas.errors import InvalidEvent
from schemas.events import DeadLetter
from schemas.timestamps import format_timestamp
from schemas.topics import DEAD_LETTERS, MAX_OWN_MESSAGE_BYTES
from stream_workers.services import Outgoing

# Base64 takes four bytes for three; the whole value stays in its own topic, at the offset that the letter names.
_MAX_VALUE_BYTES: Final = MAX_OWN_MESSAGE_BYTES // 2


def dead_letter(record: ConsumerRecord, error: InvalidEvent, now_ms: int) -> Outgoing:
    """The dead letter of a record. Its key names the record, so that a repeated letter can be told from a second fault."""
    value = (record.value or b"")[:_MAX_VALUE_BYTES]
    letter = DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=error.reason,
        error=error.detail,
        value_base64=base64.b64encode(value).decode(),
        received_at=format_timestamp(now_ms),
    )
    key = f"{record.topic}:{record.partition}:{record.offset}".encode()
    return Outgoing(DEAD_LETTERS, None, key, orjson.dumps(letter))
