"""The user stage at the edge: records of `views`, `clicks`, `feedback` and `users` to store and `item-signals`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain, zip_longest
from operator import itemgetter
from typing import Final

from aiokafka.structs import ConsumerRecord
from pydantic import ValidationError

from feature_store.keys import session_key, user_key, user_watermarks_key
from feature_store.port import PartitionWriter, Writes
from schemas.errors import InvalidEvent
from schemas.events import User, parse_event
from schemas.ids import partition_of
from schemas.topics import INTERACTIONS, ITEM_SIGNALS, USER_STAGE_TOPICS, USERS
from stream_workers.dead_letters import dead_letter
from stream_workers.handlers.forgotten_users import ForgottenUsers
from stream_workers.handlers.stage_output import StageOutput
from stream_workers.handlers.user_batch import Profile, UserBatch
from stream_workers.handlers.user_stage import UserStage
from stream_workers.marks import read_forgotten
from stream_workers.pipeline import Batch, Pipeline
from stream_workers.services import Outgoing, Services

ORIGIN_HEADER: Final = "freshet-origin"
_LOG_APPEND_TIME: Final = 1
_FORGOT: Final = "user partition %d: %d users forgotten, %d events taken back, %d that their histories no longer tell stay counted"
log = logging.getLogger(__name__)


@dataclass
class Decoded:
    """A batch after validation: what this partition applies, and what goes elsewhere."""

    batch: UserBatch = field(default_factory=UserBatch)
    outgoing: list[Outgoing] = field(default_factory=list)
    dead: int = 0
    forwarded: int = 0


class UserPipeline(Pipeline):
    """One user partition."""

    def __init__(self, partition: int, services: Services) -> None:
        super().__init__(partition, USER_STAGE_TOPICS, services, services.settings.linger_ms)
        self._stage = self._new_stage()
        self._commit_ms = 0

    def _watermarks_key(self) -> bytes:
        return user_watermarks_key(self.partition)

    async def _restart(self, writer: PartitionWriter) -> None:
        self._stage = self._new_stage(await read_forgotten(self._services.store, self.partition, self._services.settings))

    def _new_stage(self, forgotten: ForgottenUsers | None = None) -> UserStage:
        return UserStage(self.partition, self._services.models, self._services.catalogue, forgotten)

    async def apply(self, batch: Batch, writer: PartitionWriter) -> None:
        """See `Pipeline.apply`."""
        services = self._services
        decoded = self.decode(batch, writer)
        await self._join_catalogue(decoded.batch)
        self._stage.sessions.use(services.session_model())
        damaged = await self._load(self._stage.missing(decoded.batch))
        started = services.clock_ms()
        output = self._stage.apply(decoded.batch, started + self._commit_ms)
        for records in filter(None, (decoded.outgoing, *self._waves(output))):
            await services.producer.send(records)
        await writer.commit(Writes(damaged | output.puts, output.deletes, batch.watermarks()))
        self._commit_ms = services.clock_ms() - started
        self._count(decoded, output)
        if output.forgotten:
            log.info(_FORGOT, self.partition, output.forgotten, output.taken_back, output.beyond)
        self._stage.shrink()

    async def _load(self, missing: list[str]) -> dict[bytes, bytes]:
        """Take these users from the store; returns what `UserStage.load` returns."""
        key_functions = (user_key, session_key) if self._stage.sessions.model else (user_key,)
        stored = await self._services.store.read([key(self.partition, user) for key in key_functions for user in missing])
        return self._stage.load(missing, stored[: len(missing)], stored[len(missing) :])

    def _waves(self, output: StageOutput) -> Iterator[list[Outgoing]]:
        """What the stage sends on, in its order."""
        for signals, told in zip_longest(output.waves, output.interactions, fillvalue=None):
            wave = [Outgoing(ITEM_SIGNALS, target, None, value) for target, value in signals or ()]
            yield wave if told is None else [*wave, Outgoing(INTERACTIONS, self.partition, None, told)]

    async def _join_catalogue(self, batch: UserBatch) -> None:
        """An item published before an event must be known when the event is applied, or the event adds to no category."""
        unknown = [e for e, item in enumerate(batch.items) if item not in self._services.catalogue]
        if unknown:
            await self._services.reach_catalogue(max(batch.appended[e] for e in unknown), self._services.clock_ms())

    def decode(self, batch: Batch, writer: PartitionWriter) -> Decoded:
        """Validate in the order of the log; sort out what is bad or belongs to another partition."""
        decoded = Decoded()
        done = writer.watermarks
        for record in _in_log_order(batch):
            if record.offset <= done.get(record.topic, -1):
                continue
            try:
                if record.topic == USERS:
                    self._take_profile(record, decoded)
                else:
                    self._take_event(record, decoded)
            except InvalidEvent as error:
                decoded.dead += 1
                decoded.outgoing.append(dead_letter(record, error, self._services.clock_ms()))
        return decoded

    def _take_event(self, record: ConsumerRecord, decoded: Decoded) -> None:
        # The broker's time where the topic has it; a producer's own time may be anything.
        log_time = record.timestamp if record.timestamp_type == _LOG_APPEND_TIME else self._services.clock_ms()
        event = parse_event(record.topic, record.value, log_time, self._services.limits)
        origin = _origin(record) if record.headers else None
        target = partition_of(event.user_id, self._services.models.partitions)
        if target != self.partition:
            self._forward(record, event.user_id, target, origin, decoded)
            return
        identity = origin if event.event_id is None else None
        decoded.batch.append(event, record.topic, record.offset, record.timestamp, identity)

    def _take_profile(self, record: ConsumerRecord, decoded: Decoded) -> None:
        user_id = (record.key or b"").decode(errors="replace") if record.value is None else parse_user(record.value).user_id
        if not user_id:
            raise InvalidEvent("invalid", "a null value needs the user id as its key")
        target = partition_of(user_id, self._services.models.partitions)
        if target != self.partition:
            self._forward(record, user_id, target, _origin(record), decoded)
            return
        decoded.batch.profiles.append(Profile(user_id, record.value, record.timestamp, record.offset))

    def _forward(self, record: ConsumerRecord, user_id: str, target: int, origin: str | None, decoded: Decoded) -> None:
        """Send a record on to the partition of its user. Its place in the log becomes its identity, so that a repeat is known."""
        if origin is not None:
            raise InvalidEvent("wrong_partition", f"forwarded here although user {user_id!r} belongs to partition {target}")
        place = f"{record.topic}:{record.partition}:{record.offset}".encode()
        decoded.forwarded += 1
        decoded.outgoing.append(Outgoing(record.topic, target, user_id.encode(), record.value, ((ORIGIN_HEADER, place),)))

    def _count(self, decoded: Decoded, output: StageOutput) -> None:
        counters, now = self._services.counters, self._services.clock_ms()
        counters.events += output.applied
        counters.duplicates += output.duplicates
        counters.session_steps += output.stepped
        counters.session_encodings += output.encoded
        counters.dead_letters += decoded.dead
        counters.forwarded += decoded.forwarded
        if decoded.batch.appended:
            counters.effects_ms.append(now - decoded.batch.appended[0])
            counters.effects_ms.append(now - decoded.batch.appended[-1])


def _in_log_order(batch: Batch) -> list[ConsumerRecord]:
    """Records of all topics, merged by log time; within a topic in the order of offsets."""
    if len(batch.records) == 1:
        return next(iter(batch.records.values()))
    # Offsets of a topic must stay in order even where its times do not: each record counts as late as the latest before it.
    runs = (zip(accumulate((r.timestamp for r in records), max), records, strict=True) for records in batch.records.values())
    return [record for _, record in sorted(chain.from_iterable(runs), key=itemgetter(0))]


def _origin(record: ConsumerRecord) -> str | None:
    """Where a forwarded record came from."""
    for name, value in record.headers:
        if name == ORIGIN_HEADER:
            return str(value, "utf-8", "replace")
    return None


def parse_user(value: bytes) -> User:
    """Decode and validate one value of `users`.

    Raises:
        InvalidEvent: `not_json` or `invalid`.
    """
    try:
        return User.model_validate_json(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        reason = "not_json" if fault["type"] == "json_invalid" else "invalid"
        raise InvalidEvent(reason, f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['msg']}") from error
