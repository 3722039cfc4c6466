"""What belongs to a lake. A file counts once a commit names it, and commits come into being whole or not at all.

A commit of a sync holds consecutive offsets of one partition and is named after the first of them: of two syncs that read the same
offsets only one can create it. A snapshot, written by a compaction, stands for all that was there before it. The lake is the newest
snapshot and the commits that go on from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batch.lake.columns import SCHEMA_VERSION
from batch.lake.event_log import Place
from batch.lake.storage import DamagedLake, Storage
from schemas.errors import LayoutMismatch

COMMITS: Final = "_commits"
SNAPSHOTS: Final = "_snapshots"
_COMMIT: Final = re.compile(rf"{COMMITS}/([a-z-]+)-(\d+)-(\d{{20}})\.json")
_SNAPSHOT: Final = re.compile(rf"{SNAPSHOTS}/(\d{{20}})\.json")
_DATA_FILE: Final = re.compile(r"(invalid/)?topic=([a-z-]+)/day=([\d-]{10})/[a-z-]+-\d+-\d{20}-\d{20}(-c\d+)?\.parquet")


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True)


class DataFile(_Stored):
    """One Parquet file.

    Attributes:
        path: its place; until it is moved there it lies below `staged`.
        rows, bytes: how many. first, last: offsets of its first and last row.
    """

    path: str
    partition: int
    rows: int
    bytes: int
    first: int
    last: int
    staged: str

    @property
    def topic(self) -> str:
        """Of its events."""
        return self.path.removeprefix("invalid/").split("/")[0].removeprefix("topic=")

    @property
    def day(self) -> str:
        """Of its events, `2026-11-23`."""
        return self.path.split("/")[-2].removeprefix("day=")

    @property
    def invalid(self) -> bool:
        """Whether it holds what is no event."""
        return self.path.startswith("invalid/")


class Commit(_Stored):
    """Offsets first to last of one partition.

    Attributes:
        lost: so many of the offsets, from `first` on, were no longer in the log.
        topic_id: of the topic that was read; "" where the log has none.
        staged: folder in which its files came into being.
    """

    version: int = SCHEMA_VERSION
    topic: str
    partition: int
    first: int
    last: int
    lost: int
    topic_id: str
    committed_ms: int
    staged: str
    files: tuple[DataFile, ...]


class Progress(_Stored):
    """How far the lake is in one partition.

    Attributes:
        end: the offset after the last.
        lost: offsets that the log no longer had.
    """

    end: int = 0
    lost: int = 0
    topic_id: str = ""


class Snapshot(_Stored):
    """The whole lake at one moment; `progress` by `topic-partition`."""

    version: int = SCHEMA_VERSION
    number: int = 0
    created_ms: int = 0
    progress: Mapping[str, Progress] = Field(default_factory=dict)
    files: tuple[DataFile, ...] = ()


class LakeState(_Stored):
    """What belongs to the lake.

    Attributes:
        number: of the newest snapshot; 0: none yet.
        progress: by topic and partition.
        files: by path.
    """

    number: int
    progress: Mapping[Place, Progress]
    files: Mapping[str, DataFile]


StoredType = TypeVar("StoredType", Commit, Snapshot)


def commit_path(topic: str, partition: int, first: int) -> str:
    """The name that decides.

    >>> commit_path("clicks", 0, 1000)
    '_commits/clicks-0-00000000000000001000.json'
    """
    return f"{COMMITS}/{topic}-{partition}-{first:020}.json"


def snapshot_path(number: int) -> str:
    """The name of a snapshot."""
    return f"{SNAPSHOTS}/{number:020}.json"


def data_path(folder: str, place: Place, first: int, last: int, generation: int = 0) -> str:
    """The place of a file with events of these offsets.

    Args:
        generation: number of the snapshot whose compaction wrote it; 0: a sync did.

    >>> data_path("topic=clicks/day=2026-11-23", ("clicks", 0), 0, 999)
    'topic=clicks/day=2026-11-23/clicks-0-00000000000000000000-00000000000000000999.parquet'
    """
    suffix = f"-c{generation}" if generation else ""
    return f"{folder}/{place[0]}-{place[1]}-{first:020}-{last:020}{suffix}.parquet"


def is_data_path(path: str) -> bool:
    """Whether a file is in the place of events and named as one of ours."""
    return _DATA_FILE.fullmatch(path) is not None


def load_state(storage: Storage) -> LakeState:
    """The lake as it is now; an empty one where there is none.

    Raises:
        DamagedLake: a commit is missing or unreadable.
        LayoutMismatch: a later version of Freshet wrote it.
    """
    number = _newest(storage)
    try:
        return _folded(storage, number)
    except DamagedLake:
        if _newest(storage) == number:
            raise
    return load_state(storage)  # a compaction took away what its snapshot stands for


def _newest(storage: Storage) -> int:
    return max((int(found[1]) for path in storage.sizes(SNAPSHOTS) if (found := _SNAPSHOT.fullmatch(path))), default=0)


def _folded(storage: Storage, number: int) -> LakeState:
    """The snapshot of that number (0: nothing) and the commits that go on from there."""
    snapshot = read_stored(storage, snapshot_path(number), Snapshot) if number else Snapshot()
    progress = {_place(name): done for name, done in snapshot.progress.items()}
    files = {file.path: file for file in snapshot.files}
    for commit in _later_commits(storage, progress):
        place = commit.topic, commit.partition
        before = progress.get(place, Progress())
        _check_joins(commit, before)
        progress[place] = Progress(end=commit.last + 1, lost=before.lost + commit.lost, topic_id=commit.topic_id)
        files.update((file.path, file) for file in commit.files)
    return LakeState(number=snapshot.number, progress=progress, files=files)


def commits_before(storage: Storage, snapshot: Snapshot) -> list[str]:
    """The paths of commits for which the snapshot stands."""
    ends = {_place(name): done.end for name, done in snapshot.progress.items()}
    return [path for place, first, path in _commit_names(storage) if first < ends.get(place, 0)]


def snapshots(storage: Storage) -> Iterator[Snapshot]:
    """All that are still there, oldest first."""
    for path in sorted(path for path in storage.sizes(SNAPSHOTS) if _SNAPSHOT.fullmatch(path)):
        yield read_stored(storage, path, Snapshot)


def place_name(place: Place) -> str:
    """Topic and partition in one word.

    >>> place_name(("clicks", 0))
    'clicks-0'
    """
    return f"{place[0]}-{place[1]}"


def read_stored(storage: Storage, path: str, kind: type[StoredType]) -> StoredType:
    """Read a commit or snapshot. Raises as `load_state`."""
    try:
        stored = kind.model_validate_json(storage.read(path))
    except (FileNotFoundError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedLake(f"lake {storage.url}: {path} cannot be read ({reason}); {WAY_OUT}") from error
    if stored.version > SCHEMA_VERSION:
        raise LayoutMismatch(f"lake {storage.url}: {path} has format {stored.version}, known is {SCHEMA_VERSION}: update Freshet")
    return stored


WAY_OUT: Final = "restore it from a copy, or move the lake away and build it anew from the log with `freshet lake sync`"


def _commit_names(storage: Storage) -> Iterator[tuple[Place, int, str]]:
    """Topic and partition, first offset and path of every commit, in that order."""
    found = filter(None, map(_COMMIT.fullmatch, storage.sizes(COMMITS)))
    yield from sorted(((name[1], int(name[2])), int(name[3]), name[0]) for name in found)


def _later_commits(storage: Storage, progress: Mapping[Place, Progress]) -> Iterator[Commit]:
    for place, first, path in _commit_names(storage):
        if first >= progress.get(place, Progress()).end:
            yield read_stored(storage, path, Commit)


def _check_joins(commit: Commit, before: Progress) -> None:
    if commit.first != before.end:
        name = place_name((commit.topic, commit.partition))
        raise DamagedLake(f"the lake has no commit of {name} for offsets {before.end} to {commit.first - 1}; {WAY_OUT}")


def _place(name: str) -> Place:
    topic, _, partition = name.rpartition("-")
    return topic, int(partition)
