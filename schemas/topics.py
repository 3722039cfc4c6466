"""Every Kafka topic, declared once: name, key, partitions, retention, compaction.

All topics have the same number of partitions, so that one worker owns partition p of all of them together.
The event topics carry the broker's append time (`LogAppendTime`): producers' clocks may be wrong, and the 24 hours for which an
`event_id` is remembered must come out the same when the log is replayed. What a person did when is in the value.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from schemas.settings import Settings

DAY_MS: Final = 86_400_000

VIEWS: Final = "views"
CLICKS: Final = "clicks"
FEEDBACK: Final = "feedback"
IMPRESSIONS: Final = "impressions"
ITEMS: Final = "items"
USERS: Final = "users"
ITEM_SIGNALS: Final = "item-signals"
INTERACTIONS: Final = "interactions"
DEAD_LETTERS: Final = "dead-letters"

EVENT_TOPICS: Final = (VIEWS, CLICKS, FEEDBACK)
USER_STAGE_TOPICS: Final = (*EVENT_TOPICS, USERS)
ITEM_STAGE_TOPICS: Final = (ITEM_SIGNALS, ITEMS)
_FOR_EVER_MS: Final = 36_500 * DAY_MS
_SHOWN_MS: Final = 30 * DAY_MS
MAX_OWN_MESSAGE_BYTES: Final = 8 * 1024 * 1024


class TopicSpec(NamedTuple):
    """How one topic is created.

    Attributes:
        key: what its records are keyed by.
        partitions: partition count.
        configs: Kafka topic settings.
    """

    name: str
    key: Literal["user", "item", "none"]
    partitions: int
    configs: dict[str, str]


def declared_topics(settings: Settings) -> list[TopicSpec]:
    """The topics of contract and design with these settings.

    `item-signals` and `interactions` outlive the event topics by a week: after a flush of Redis the item stage and the learner
    read them from their start, and they must then reach at least as far back as the events themselves.

    Where events do not stay for ever, the wish to forget somebody, whose key in `users` is their id, stays until nothing from
    before it can be read any more. An older value of theirs is compacted away within a day.

    >>> [spec.name for spec in declared_topics(Settings())][:3]
    ['views', 'clicks', 'feedback']
    """
    events_ms = -1 if settings.retention_days < 0 else settings.retention_days * DAY_MS
    signals_ms = -1 if events_ms < 0 else events_ms + 7 * DAY_MS
    wishes_ms = _FOR_EVER_MS if events_ms < 0 else max(events_ms, _SHOWN_MS) + 14 * DAY_MS

    def kept(name: str, key: Literal["user", "item", "none"], retention_ms: int, **more: str) -> TopicSpec:
        configs = {"cleanup.policy": "delete", "retention.ms": str(retention_ms), "message.timestamp.type": "LogAppendTime"}
        return TopicSpec(name, key, settings.partitions, configs | more)

    def compacted(name: str, key: Literal["user", "item", "none"], tombstones_ms: int = _FOR_EVER_MS, **more: str) -> TopicSpec:
        configs = {
            "cleanup.policy": "compact",
            "delete.retention.ms": str(tombstones_ms),
            "message.timestamp.type": "LogAppendTime",
        }
        return TopicSpec(name, key, settings.partitions, configs | more)

    return [
        *(kept(name, "user", events_ms) for name in EVENT_TOPICS),
        kept(IMPRESSIONS, "user", _SHOWN_MS),
        compacted(ITEMS, "item"),
        compacted(USERS, "user", wishes_ms, **{"max.compaction.lag.ms": str(DAY_MS)}),
        # These carry what Freshet itself makes of events, which can be larger than the events: base64, all pairs of a batch.
        kept(ITEM_SIGNALS, "item", signals_ms, **{"max.message.bytes": str(MAX_OWN_MESSAGE_BYTES)}),
        kept(INTERACTIONS, "user", signals_ms, **{"max.message.bytes": str(MAX_OWN_MESSAGE_BYTES)}),
        kept(DEAD_LETTERS, "none", _SHOWN_MS, **{"max.message.bytes": str(MAX_OWN_MESSAGE_BYTES)}),
    ]
