"""The user stage of one partition: events in, user blobs and item signals out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from feature_store.catalogue import Catalogue
from feature_store.keys import damaged_user_key, forgotten_key, profile_key, session_key, user_key
from feature_store.packing import CorruptBlob
from feature_store.user_blob import TYPES, UserColumns, UserState, pack_users, unpack_user
from schemas.horizons import HOUR_MS
from schemas.topics import USER_STAGE_TOPICS, USERS
from stream_workers.handlers.fan_out import Pairs, SourceEvents, events_only, fan_out
from stream_workers.handlers.forgotten_users import ForgottenUsers
from stream_workers.handlers.interactions import FORGET, ROW_COLUMNS, InteractionColumns, interaction_messages
from stream_workers.handlers.interner import Interner
from stream_workers.handlers.rows import Rows
from stream_workers.handlers.seen_events import note
from stream_workers.handlers.session_states import SessionStates
from stream_workers.handlers.settings import ModelSettings
from stream_workers.handlers.stage_output import StageOutput
from stream_workers.handlers.taking_back import Forgetting, forgetting_of, inverse_signals
from stream_workers.handlers.user_batch import Profile, UserBatch
from stream_workers.models.affinity import update_affinities
from stream_workers.models.history import update_histories

_TOPIC_CODES: Final = {topic: code for code, topic in enumerate(USER_STAGE_TOPICS)}


class UserStage:
    """State of the users of one partition.

    Call `missing`, read those keys, `load` them, then `apply` the batch. After a failed commit the memory is ahead of the store:
    throw the stage away and start from the store.

    Args:
        partition: user partition.
        settings: numbers of the models.
        catalogue: for the categories of items; may change between calls.
        forgotten: who was forgotten before.

    Attributes:
        sessions: states of the session model; tell it which version before each `load`.
    """

    def __init__(
        self, partition: int, settings: ModelSettings, catalogue: Catalogue, forgotten: ForgottenUsers | None = None
    ) -> None:
        self._partition = partition
        self._settings = settings
        self._catalogue = catalogue
        self._forgotten = forgotten or ForgottenUsers()
        self._items = Interner(settings.partitions)
        self._categories = Interner(1)
        self._category_lists: dict[tuple[str, ...], list[int]] = {}  # a catalogue has few combinations of categories
        self._weights = np.array(settings.type_weights, np.float64)
        n, a = settings.history_length, settings.affinities
        self._rows = Rows(
            {
                "counts": ((TYPES,), np.uint32, 0), "newest": ((), np.int64, 0), "forgotten": ((), np.int64, 0),
                "effect_ms": ((), np.int64, 0), "length": ((), np.int32, 0), "items": ((n,), np.int32, 0),
                "types": ((n,), np.uint8, 0), "timestamps": ((n,), np.int64, 0),
                "categories": ((a,), np.int32, -1), "weights": ((a,), np.float32, 0.0),  # as stored: a restart must change nothing
            },
            settings.cached_users,
        )  # fmt: skip
        self._seen: list[dict[int, bytearray]] = []
        self.sessions = SessionStates(self._weights)

    def missing(self, batch: UserBatch) -> list[str]:
        """Users of the batch that are not in memory."""
        return self._rows.missing([*batch.users, *(profile.user for profile in batch.profiles)])

    def load(
        self, users: Sequence[str], blobs: Sequence[bytes | None], sessions: Sequence[bytes | None] = ()
    ) -> dict[bytes, bytes]:
        """Take users from the store (None: a new user), with the stored states of the session model, where that is used.

        Returns:
            Writes that put aside blobs that are damaged; their users start anew.
        """
        damaged = {}
        for user, blob, session in zip(users, blobs, sessions or (None,) * len(users), strict=True):
            row = self._rows.add(user)
            self._rows.arrays["forgotten"][row] = self._forgotten.time_of(user)
            self._seen.append({})
            if blob is None:
                self.sessions.begin(row)
                continue
            try:
                self._fill(row, unpack_user(blob))
            except CorruptBlob:
                damaged[damaged_user_key(self._partition, user)] = blob
                self.sessions.begin(row)
            else:
                self.sessions.load(row, session, blob)
        return damaged

    def apply(self, batch: UserBatch, now_ms: int) -> StageOutput:
        """Apply a batch whose users are all in memory.

        Args:
            batch: events and profiles.
            now_ms: when the effect will be visible, for the measured event-to-effect time.
        """
        output = StageOutput()
        for part in batch.cut_at_forgettings():
            self._apply(part, now_ms, output)
        return output

    def _apply(self, batch: UserBatch, now_ms: int, output: StageOutput) -> None:
        self._apply_profiles(batch, output)
        rows = self._rows.find(batch.users)
        fresh = self._unseen(batch, rows, output)
        events = self._columns(batch, fresh)
        rows = rows[fresh]
        output.applied += len(fresh)
        self._tell_learner(batch, fresh, rows, events, output)
        if len(fresh):
            undo = np.array(batch.undo, np.bool_)[fresh]
            self._learn(rows, events, undo, output)
            self._rows.arrays["effect_ms"][rows] = now_ms - events.appended
        self._pack(np.unique(rows), output)

    def shrink(self) -> None:
        """Bound the memory; call after a successful commit."""
        kept = self._rows.shrink()
        if kept is not None:
            self._seen = [self._seen[row] for row in kept.tolist()]
            self._compact_items()
            self.sessions.keep(kept)

    def _apply_profiles(self, batch: UserBatch, output: StageOutput) -> None:
        gone = []
        for profile in batch.profiles:
            key = profile_key(self._partition, profile.user)
            if profile.value is None:
                gone.append(self._forget(profile, output))
            else:
                output.put({key: profile.value})
        if gone:
            output.waves += inverse_signals(self._partition, gone, self._items, self._settings)
            output.put({forgotten_key(self._partition): self._forgotten.packed()})

    def _forget(self, profile: Profile, output: StageOutput) -> Forgetting:
        """Empty the user's row and delete their keys; what they did for items, to be taken back."""
        row = int(self._rows.find([profile.user])[0])
        arrays: dict[str, Any] = self._rows.arrays
        found = forgetting_of(profile.offset, row, arrays)
        output.delete(name(self._partition, profile.user) for name in (user_key, profile_key, session_key, damaged_user_key))
        output.forgotten, output.taken_back = output.forgotten + 1, output.taken_back + len(found.items)
        output.beyond += found.beyond
        self._rows.clear(row)
        arrays["forgotten"][row] = profile.appended
        self._forgotten.add(profile.user, profile.appended)
        self._seen[row] = {}
        self.sessions.begin(row)
        return found

    def _unseen(self, batch: UserBatch, rows: NDArray[np.int64], output: StageOutput) -> NDArray[np.int64]:
        """Positions of the events that are neither known by their identity nor older than the forgetting of their user."""
        forgotten = self._rows.arrays["forgotten"]
        any_forgotten, keep = bool(forgotten[rows].any()), self._settings.dedupe_hours
        fresh = []
        for e, (row, identity) in enumerate(zip(rows.tolist(), batch.identities, strict=True)):
            if any_forgotten and batch.appended[e] <= forgotten[row]:
                continue
            if identity is not None and not note(self._seen[row], identity, batch.appended[e] // HOUR_MS, keep):
                output.duplicates += 1
                continue
            fresh.append(e)
        return np.array(fresh, np.int64)

    def _tell_learner(
        self, batch: UserBatch, chosen: NDArray[np.int64], rows: NDArray[np.int64], events: SourceEvents, output: StageOutput
    ) -> None:
        """Messages for the learner: who was forgotten, then what happened."""
        gone = [profile for profile in batch.profiles if profile.value is None]
        if not gone and not len(chosen):
            return
        contexts: dict[tuple[str, ...], int] = {}
        context_rows = [contexts.setdefault(batch.contexts[e], len(contexts)) for e in chosen.tolist()]
        topics = np.array([_TOPIC_CODES[topic] for topic in events.topics], np.uint8)
        columns = InteractionColumns(
            self._partition, self._rows.keys, self._items.ids, list(contexts),
            rows, events.items, np.array(context_rows, np.int64), topics, events.offsets, events.types,
            np.array(batch.undo, np.bool_)[chosen], np.array(batch.values, np.float32)[chosen], events.timestamps,
        )  # fmt: skip
        output.interactions += interaction_messages(self._with_forgotten(gone, columns) if gone else columns)

    def _with_forgotten(self, gone: list[Profile], columns: InteractionColumns) -> InteractionColumns:
        """The columns behind a row for each forgotten user."""
        count = len(gone)
        table = columns.context_table or [()]
        rows = columns._replace(
            users=self._rows.find([profile.user for profile in gone]), items=np.full(count, -1), contexts=np.zeros(count, np.int64),
            topics=np.full(count, _TOPIC_CODES[USERS], np.uint8), offsets=np.array([profile.offset for profile in gone], np.int64),
            types=np.full(count, FORGET, np.int64), undo=np.zeros(count, np.bool_), values=np.full(count, np.nan, np.float32),
            timestamps=np.zeros(count, np.int64),
        )  # fmt: skip
        joined: Any = {name: np.concatenate((getattr(rows, name), getattr(columns, name))) for name in ROW_COLUMNS}
        return columns._replace(context_table=table, **joined)

    def _learn(self, rows: NDArray[np.int64], events: SourceEvents, undo: NDArray[np.bool_], output: StageOutput) -> None:
        arrays: dict[str, Any] = self._rows.arrays
        decayed_to = arrays["newest"].copy()
        pairs = update_histories(
            rows, events.items, events.types, events.timestamps, undo, self._weights, self._items.order,
            self._settings.pair_depth, self._settings.pair_decay, arrays["items"], arrays["types"], arrays["timestamps"],
            arrays["length"], arrays["counts"], arrays["newest"],
        )  # fmt: skip
        moved = self.sessions.advance(rows, events, undo, arrays, self._items)
        output.stepped, output.encoded = output.stepped + moved.stepped, output.encoded + moved.encoded
        if undo.any():  # no pairs, no affinities, no counts: what was taken back happened, and what takes it back is no event
            rows, events = rows[~undo], events_only(events, ~undo)
            pairs = ((np.cumsum(~undo) - 1)[pairs[0]], *pairs[1:])
        starts, categories = self._event_categories(events)
        update_affinities(
            rows, events.types, events.timestamps, starts, categories, self._weights,
            self._settings.affinity_half_life_ms, arrays["categories"], arrays["weights"], decayed_to,
        )  # fmt: skip
        output.waves += fan_out(self._partition, events, Pairs(*pairs), self._items, self._settings)

    def _columns(self, batch: UserBatch, chosen: NDArray[np.int64]) -> SourceEvents:
        picked = chosen.tolist()
        return SourceEvents(
            items=self._items.indices([batch.items[e] for e in picked]),
            types=np.array(batch.types, np.int64)[chosen],
            timestamps=np.array(batch.timestamps, np.int64)[chosen],
            offsets=np.array(batch.offsets, np.int64)[chosen],
            appended=np.array(batch.appended, np.int64)[chosen],
            topics=[batch.topics[e] for e in picked],
        )

    def _event_categories(self, events: SourceEvents) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        known, ids, lists = self._catalogue.categories, self._items.ids, self._category_lists
        names = [known(ids[item]) for item in events.items.tolist()]
        for combination in set(names) - lists.keys():
            lists[combination] = self._categories.indices(list(combination)).tolist()
        per_event = [lists[combination] for combination in names]
        starts = np.zeros(len(per_event) + 1, np.int64)
        np.cumsum([len(categories) for categories in per_event], out=starts[1:])
        return starts, np.array([c for categories in per_event for c in categories], np.int64)

    def _pack(self, rows: NDArray[np.int64], output: StageOutput) -> None:
        users, blobs = [self._rows.keys[row] for row in rows.tolist()], self._packed(rows)
        output.put(zip((user_key(self._partition, user) for user in users), blobs, strict=True))
        if self.sessions.model is not None:
            keys = (session_key(self._partition, user) for user in users)
            output.put(zip(keys, self.sessions.packed(rows, blobs), strict=True))

    def _packed(self, rows: NDArray[np.int64]) -> list[bytes]:
        arrays = self._rows.arrays
        columns: dict[str, Any] = {name: array[rows] for name, array in arrays.items()}
        longest = int(columns["length"].max(initial=0))
        for name in ("items", "types", "timestamps"):
            columns[name] = columns[name][:, :longest]
        users = UserColumns(**columns, seen=[self._seen[row] for row in rows.tolist()])
        return pack_users(users, self._items.packed, self._categories.packed)

    def _fill(self, row: int, state: UserState) -> None:
        arrays: dict[str, Any] = self._rows.arrays
        arrays["counts"][row], arrays["newest"][row] = state.counts, state.newest
        arrays["forgotten"][row], arrays["effect_ms"][row] = state.forgotten, state.effect_ms
        history = state.history[: self._settings.history_length]
        length = arrays["length"][row] = len(history)
        arrays["items"][row, :length] = self._items.indices([entry.item_id for entry in history])
        arrays["types"][row, :length] = [entry.type for entry in history]
        arrays["timestamps"][row, :length] = [entry.timestamp for entry in history]
        leanings = list(state.affinities.items())[: self._settings.affinities]
        arrays["categories"][row, : len(leanings)] = self._categories.indices([name for name, _ in leanings])
        arrays["weights"][row, : len(leanings)] = [weight for _, weight in leanings]
        self._seen[row] = {hour: bytearray(hashes) for hour, hashes in state.seen.items()}

    def _compact_items(self) -> None:
        """Forget item ids that no kept history mentions."""
        items: Any = self._rows.arrays["items"]
        behind = np.arange(items.shape[1]) >= self._rows.arrays["length"][:, None]
        used, inverse = np.unique(np.where(behind, 0, items), return_inverse=True)
        compact = Interner(self._settings.partitions)
        new = compact.indices([self._items.ids[i] for i in used.tolist()]) if len(self._items) else np.zeros(1, np.int64)
        self._items = compact
        self._rows.arrays["items"] = new[inverse].reshape(items.shape).astype(np.int32)
