"""What the user stage is given: events of one partition, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.events import Event

_NO_VALUE: Final = float("nan")


class Profile(NamedTuple):
    """One record of `users`.

    Attributes:
        value: the profile as JSON; None: forget the user.
        appended: when the log took it in, ms. offset: where the log holds it.
    """

    user: str
    value: bytes | None
    appended: int
    offset: int = 0


@dataclass
class UserBatch:
    """Events of one user partition in the order of the log, column by column.

    Attributes:
        users, items: ids. types: codes. timestamps: event time, ms.
        identities: what makes each event unique for `dedupe_hours`; None where its place in the log is enough.
        topics, offsets: where the log holds each event. appended: when the log took it in, ms.
        values, undo, contexts: as of `schemas.events.Event`, NaN for no value.
        profiles: in log order.
    """

    users: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    identities: list[str | None] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    appended: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    undo: list[bool] = field(default_factory=list)
    contexts: list[tuple[str, ...]] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.users)

    def part(self, start: int, end: int, profiles: Sequence[Profile] = ()) -> UserBatch:
        """Events start to end - 1, with these profiles."""
        return UserBatch(
            self.users[start:end],
            self.items[start:end],
            self.types[start:end],
            self.timestamps[start:end],
            self.identities[start:end],
            self.topics[start:end],
            self.offsets[start:end],
            self.appended[start:end],
            self.values[start:end],
            self.undo[start:end],
            self.contexts[start:end],
            list(profiles),
        )

    def cut_at_forgettings(self) -> Iterator[UserBatch]:
        """The batch in parts, each with its profiles before its events: what was logged before a wish to forget is before it."""
        if all(profile.value is not None for profile in self.profiles):  # the rule
            yield self
            return
        start, profiles = 0, list[Profile]()
        for profile in self.profiles:
            before = sum(at <= profile.appended for at in self.appended) if profile.value is None else 0
            if before > start:
                yield self.part(start, before, profiles)
                start, profiles = before, []
            profiles.append(profile)
        if profiles or start < len(self):
            yield self.part(start, len(self), profiles)

    def append(self, event: Event, topic: str, offset: int, appended: int, identity: str | None) -> None:
        """Add one event; `identity` overrides the event's own id (a forwarded event that has none)."""
        user, item, kind, timestamp, event_id, value, undo, context = event
        self.users.append(user)
        self.items.append(item)
        self.types.append(kind)
        self.timestamps.append(timestamp)
        self.identities.append(event_id if identity is None else identity)
        self.topics.append(topic)
        self.offsets.append(offset)
        self.appended.append(appended)
        self.values.append(_NO_VALUE if value is None else value)
        self.undo.append(undo)
        self.contexts.append(context)
