"""What was shown goes to Kafka, without ever making anybody wait for it."""

from __future__ import annotations

from typing import Final

from schemas.topics import IMPRESSIONS
from serving.event_log import EventLog, Record
from serving.metrics import Metrics
from serving.outbox import Outbox

BUFFERED: Final = 5000
_GATHER_SECONDS: Final = 0.05  # many impressions in one request to Kafka cost little more than one
_LARGEST_BYTES: Final = 256 * 1024  # a larger one could make Kafka refuse those sent with it


class ImpressionLog:
    """A bounded buffer in front of the log; what does not fit or is not acknowledged is counted and given up."""

    def __init__(self, log: EventLog, metrics: Metrics) -> None:
        self._outbox: Outbox[Record] = Outbox("impressions", BUFFERED, _GATHER_SECONDS, log.append, metrics.impressions)

    def add(self, user_id: str, value: bytes) -> None:
        """Take one impression (JSON), to be sent soon."""
        if len(value) > _LARGEST_BYTES:
            self._outbox.give_up()
            return
        self._outbox.add(Record(IMPRESSIONS, user_id.encode(), value))

    def start(self) -> None:
        """Begin to send."""
        self._outbox.start()

    async def stop(self) -> None:
        """Send what is buffered, within a few seconds, and end."""
        await self._outbox.stop()
