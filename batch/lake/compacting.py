"""Many small files of one topic, day and partition become one; what people did before they were forgotten is left out on the way.

The outcome counts all at once, by a snapshot that stands for everything before it. Killed at any moment, nothing has happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Final, NamedTuple

import pyarrow as pa
from pyarrow import compute

from batch.lake.columns import LAKE_TOPICS, columns_of
from batch.lake.commits import DataFile, LakeState, Snapshot, commits_before, place_name, snapshot_path, snapshots
from batch.lake.forgotten import Forgotten, forgotten_users, hidden, salt_of, telling
from batch.lake.lake import GRACE_MS, SUPERSEDED, Lake, Stage
from batch.lake.storage import LakeBusy
from schemas.topics import ITEMS, USERS

LARGEST_BYTES: Final = 256 * 1024 * 1024
_TELLING: Final = frozenset({"user_id", "key", "reason", "deleted", "log_time"})
Tick = Callable[[int, int], None]


class CompactReport(NamedTuple):
    """What a compaction did.

    Attributes:
        merged, written: files that were replaced, and by how many.
        forgotten: rows of forgotten users that were left out.
        deleted: files that were superseded longer ago than the grace time.
    """

    merged: int = 0
    written: int = 0
    forgotten: int = 0
    deleted: int = 0


def compact(
    lake: Lake,
    now_ms: int,
    grace_ms: int = GRACE_MS,
    largest_bytes: int = LARGEST_BYTES,
    tick: Tick = lambda done, total: None,
) -> CompactReport:
    """Merge small files, topic by topic, and delete what was superseded long enough ago.

    Of users who were forgotten (a null in `users`) no row from before that remains: no events, impressions, profiles, nor records
    that were refused. That somebody was forgotten stays, under a hash (see `forgotten`). The files that held the rows are deleted
    after the grace time.

    Args:
        lake: locked by the caller (`Lake.locked`).
        now_ms: the time.
        grace_ms: how long replaced files are kept for those who are reading them.
        largest_bytes: files grow to about this size.
        tick: is told (groups of files done, groups in all) of each topic.

    Raises:
        LakeBusy: another compaction was faster (on an object store, where nothing can be locked); run it again.
        DamagedLake, Unavailable: as `syncing.sync`; nothing was changed for the topic at hand.
    """
    lake.settle(now_ms)
    users = forgotten_users(lake)
    merged = written = forgotten = 0
    for topic in LAKE_TOPICS:
        done = _compact_topic(lake, topic, now_ms, users, largest_bytes, tick)
        merged, written, forgotten = merged + done.merged, written + done.written, forgotten + done.forgotten
    return CompactReport(merged, written, forgotten, _delete_old(lake, now_ms, grace_ms))


def _compact_topic(lake: Lake, topic: str, now_ms: int, users: Forgotten, largest_bytes: int, tick: Tick) -> CompactReport:
    state = lake.load()
    groups = list(_groups(lake, topic, state, users, largest_bytes))
    if not groups:
        return CompactReport()
    with Stage(lake, now_ms) as stage:
        for done, group in enumerate(groups, 1):
            _merge(lake, stage, group, users, state.number + 1)
            tick(done, len(groups))
        replaced = {file.path for group in groups for file in group}
        files = {path: file for path, file in state.files.items() if path not in replaced}
        files |= {file.path: file for file in stage.files}
        snapshot = _snapshot(state, files.values(), now_ms)
        if not stage.commit(snapshot_path(snapshot.number), snapshot.model_dump_json().encode()):
            raise LakeBusy(f"lake {lake.url}: another compaction was faster; run it again")
        lake.settle(now_ms)  # the old files go before the new ones come: nobody sees an event twice
        stage.release()
    rows = sum(state.files[path].rows for path in replaced) - sum(file.rows for file in stage.files)
    return CompactReport(len(replaced), len(stage.files), rows)


def _snapshot(state: LakeState, files: Iterable[DataFile], now_ms: int) -> Snapshot:
    progress = {place_name(place): done for place, done in state.progress.items()}
    return Snapshot(number=state.number + 1, created_ms=now_ms, progress=progress, files=tuple(files))


def _groups(lake: Lake, topic: str, state: LakeState, users: Forgotten, largest_bytes: int) -> Iterator[list[DataFile]]:
    """Files to be made one: neighbours in their folder that are small enough, or hold rows of forgotten users."""
    folders: dict[tuple[str, int], list[DataFile]] = defaultdict(list)
    for file in sorted(state.files.values(), key=lambda file: file.first):
        if file.topic == topic:
            folders[file.path.rpartition("/")[0], file.partition].append(file)
    for files in folders.values():
        for group in _neighbours(files, largest_bytes):
            if len(group) > 1 or _has_any(lake, group[0], users):
                yield group


def _neighbours(files: list[DataFile], largest_bytes: int) -> Iterator[list[DataFile]]:
    group: list[DataFile] = []
    size = 0
    for file in files:
        if group and size + file.bytes > largest_bytes:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.bytes
    yield group


def _has_any(lake: Lake, file: DataFile, users: Forgotten) -> bool:
    if not users or file.topic == ITEMS:
        return False
    columns = [name for name in columns_of(file.topic, file.invalid).names if name in _TELLING]
    return any(
        compute.any(_of_users(batch, users)).as_py() or (_tells(file) and compute.any(telling(batch)).as_py())
        for batch in lake.read(file, columns)
    )


def _tells(file: DataFile) -> bool:
    """Whether the file may say by name that somebody was forgotten."""
    return file.topic == USERS and not file.invalid


def _of_users(batch: pa.RecordBatch, users: Forgotten) -> pa.Array:
    """Which rows are to be left out: those of the users up to their time, but not that they were forgotten."""

    def before(column: str) -> pa.Array:
        limit = users.times_of(batch.column(column))
        return compute.fill_null(compute.less_equal(batch.column("log_time").cast(pa.int64()), limit), False)

    found = before("user_id")
    if "reason" in batch.schema.names:  # it is no event: the user may be known by the key alone
        found = compute.or_(found, before("key"))
    if "deleted" in batch.schema.names:
        found = compute.and_not(found, batch.column("deleted"))
    return found


def _merge(lake: Lake, stage: Stage, group: list[DataFile], users: Forgotten, generation: int) -> None:
    first, last = group[0], group[-1]
    folder = first.path.rpartition("/")[0]
    stage.write(folder, (first.topic, first.partition), (first.first, last.last), _kept(lake, group, users), generation)


def _kept(lake: Lake, group: list[DataFile], users: Forgotten) -> Iterator[pa.RecordBatch]:
    for file in group:
        for batch in lake.read(file):
            kept = batch.filter(compute.invert(_of_users(batch, users))) if users and file.topic != ITEMS else batch
            yield hidden(kept, salt_of(lake)) if users and _tells(file) else kept


def _delete_old(lake: Lake, now_ms: int, grace_ms: int) -> int:
    """Delete what nobody reads any more; the number of data files among it."""
    oldest, live = now_ms - grace_ms, lake.load().files
    superseded: dict[str, list[str]] = defaultdict(list)
    for path in lake.storage.sizes(SUPERSEDED):
        moved_ms, _, place = path.removeprefix(f"{SUPERSEDED}/").partition("/")
        superseded[moved_ms].append(place)
    old = {ms: places for ms, places in superseded.items() if int(ms) <= oldest and live.keys().isdisjoint(places)}
    for moved_ms in old:
        lake.storage.delete(f"{SUPERSEDED}/{moved_ms}")
    _delete_old_commits(lake, oldest)
    return sum(map(len, old.values()))


def _delete_old_commits(lake: Lake, oldest: int) -> None:
    """Commits and snapshots for which a snapshot of the grace time ago stands."""
    old = list(takewhile(lambda snapshot: snapshot.created_ms <= oldest, snapshots(lake.storage)))
    if old:
        for path in (*commits_before(lake.storage, old[-1]), *(snapshot_path(snapshot.number) for snapshot in old[:-1])):
            lake.storage.delete(path)
