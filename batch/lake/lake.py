"""The event lake: Kafka's log as Parquet files in folders `topic=.../day=...`, each event once.

A file is first written below `_staging`, then named by a commit, then moved to its folder: whoever reads the folders alone sees
nothing that is not committed. A file that a compaction replaced is kept below `_superseded` for a while,
for those who still read it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from typing import IO, Any, Final

import pyarrow as pa
from pyarrow import parquet

from batch.lake.columns import SCHEMA_VERSION, completed
from batch.lake.commits import WAY_OUT, DataFile, LakeState, data_path, is_data_path, load_state
from batch.lake.event_log import Place
from batch.lake.storage import DamagedLake, LakeUnavailable, Storage
from schemas.errors import LayoutMismatch

STAGING: Final = "_staging"
SUPERSEDED: Final = "_superseded"
GRACE_MS: Final = 24 * 3_600_000
"""How long a reader may take, and a sync on an object store between writing and committing."""
_COMPRESSION: Final = "zstd"
_GROUP_ROWS: Final = 131_072
_GROUP_BYTES: Final = 32 * 1024 * 1024


class Lake:
    """One lake.

    Args:
        storage: where its files are; may be empty.

    >>> from batch.lake.commits import load_state
    >>> load_state(Lake(Storage("memory://an-empty-lake")).storage).files
    {}
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @property
    def url(self) -> str:
        """Where it is."""
        return self.storage.url

    def load(self) -> LakeState:
        """What belongs to the lake now; see `load_state`."""
        return load_state(self.storage)

    @contextmanager
    def locked(self, wait_seconds: float, say: Callable[[str], None]) -> Iterator[None]:
        """Alone with the lake; see `Storage.locked`."""
        with self.storage.locked(wait_seconds, say):
            yield

    def open(self, file: DataFile) -> IO[bytes]:
        """A data file for reading, wherever it is by now.

        Raises:
            DamagedLake: it is gone.
        """
        for path in self._places(file):
            try:
                return self.storage.open(path)
            except FileNotFoundError:
                continue
        raise DamagedLake(f"lake {self.url}: {file.path} is missing; {WAY_OUT}")

    def path_of(self, file: DataFile) -> str:
        """Where a data file is now, for tools that open it themselves. Raises as `open`."""
        self.open(file).close()
        return next(self.storage.full(path) for path in self._places(file) if self.storage.exists(path))

    def _places(self, file: DataFile) -> Iterator[str]:
        yield file.path
        yield f"{file.staged}/{file.path}"
        yield from self.storage.found(f"{SUPERSEDED}/*/{file.path}")
        yield file.path  # it was moved in meanwhile

    def read(self, file: DataFile, columns: Iterable[str] | None = None, rows: int = 8192) -> Iterator[pa.RecordBatch]:
        """The rows of a data file, some at a time.

        Args:
            columns: only these; None: all.
            rows: at most so many in one batch.

        Raises:
            DamagedLake: it is missing, truncated or no Parquet file.
            LayoutMismatch: its columns are of another version.
        """
        wanted = None if columns is None else list(columns)
        try:
            with self.open(file) as opened:
                found, content = 0, parquet.ParquetFile(opened)
                self._check_version(file, content.schema_arrow.metadata)
                for batch in content.iter_batches(rows, columns=wanted):
                    found += batch.num_rows
                    yield completed(batch, file.topic, file.invalid, wanted)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DamagedLake(f"lake {self.url}: {file.path} cannot be read ({reason}); {WAY_OUT}") from error
        if found != file.rows:
            raise DamagedLake(f"lake {self.url}: {file.path} has {found} rows, {file.rows} were written; {WAY_OUT}")

    def _check_version(self, file: DataFile, about: Mapping[bytes, bytes]) -> None:
        version = int((about or {}).get(b"freshet.schema", b"0"))
        if version != SCHEMA_VERSION:
            raise LayoutMismatch(f"lake {self.url}: {file.path} has columns of version {version}, known is {SCHEMA_VERSION}")

    def settle(self, now_ms: int) -> None:
        """Bring every committed file to its folder and every other one out of it: finishes what a killed run left.

        Args:
            now_ms: the time; what another run on an object store may still be writing is left alone.
        """
        present = self.storage.sizes()
        state = self.load()  # after the look at the folders: what is in them and counts is known to count
        for path in present:
            if is_data_path(path) and path not in state.files:
                self.storage.move(path, f"{SUPERSEDED}/{now_ms:015}/{path}")
        for file in state.files.values():
            if file.path not in present:
                self._bring(file)
        self._clear_staging(present, now_ms)

    def _bring(self, file: DataFile) -> None:
        for path in self._places(file):
            if self.storage.exists(path):
                if path != file.path:
                    self.storage.move(path, file.path)
                return
        raise DamagedLake(f"lake {self.url}: {file.path} is missing; {WAY_OUT}")

    def _clear_staging(self, present: Iterable[str], now_ms: int) -> None:
        oldest = now_ms if self.storage.is_local else now_ms - GRACE_MS
        for folder in {"/".join(path.split("/")[:2]) for path in present if path.startswith(f"{STAGING}/")}:
            if int(folder.split("/")[1].split("-")[0]) <= oldest:
                self.storage.delete(folder)


def open_lake(place: str) -> Lake:
    """The lake in a folder or at a URL of fsspec; see `Storage`."""
    return Lake(Storage(place))


class Stage:
    """Files that are being written and do not count yet.

    Args:
        now_ms: the time, part of the folder's name.

    Attributes:
        folder: where they are.
        files: what was written so far.
    """

    def __init__(self, lake: Lake, now_ms: int) -> None:
        self._storage = lake.storage
        self.folder = f"{STAGING}/{now_ms:015}-{secrets.token_hex(4)}"
        self.files: list[DataFile] = []
        self._counts = False

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._counts:  # else the next run moves the files
            with suppress(LakeUnavailable):
                self._storage.delete(self.folder)

    def write(
        self, folder: str, place: Place, span: tuple[int, int], batches: Iterable[pa.RecordBatch], generation: int = 0
    ) -> None:
        """Write one data file; none where there are no rows.

        Args:
            folder: of its day.
            span: first and last offset, for its name.
            batches: rows in the order of offsets.
            generation: see `data_path`.
        """
        path = data_path(folder, place, *span, generation)
        groups = _row_groups(batches)
        head = next(groups, None)
        if head is None:
            return
        first, last, rows = head.column("offset")[0].as_py(), -1, 0
        staged = f"{self.folder}/{path}"
        with self._storage.writing(staged) as file, parquet.ParquetWriter(file, head.schema, compression=_COMPRESSION) as writer:
            for group in chain([head], groups):
                writer.write_table(group)
                last, rows = group.column("offset")[-1].as_py(), rows + group.num_rows
        size = self._storage.size(staged)
        self.files.append(
            DataFile(path=path, partition=place[1], rows=rows, bytes=size, first=first, last=last, staged=self.folder)
        )

    def commit(self, path: str, content: bytes) -> bool:
        """Create the file that makes the others count; False where another run has created it."""
        self._counts = True  # until it is known that it does not: it may exist although an error came back
        try:
            self._counts = self._storage.create(path, content, f"{self.folder}/{path}")
        except LakeUnavailable:
            self._counts = self._storage.exists(path)
            raise
        return self._counts

    def publish(self) -> None:
        """Move the files to their folders, after the commit."""
        for file in self.files:
            self._storage.move(f"{self.folder}/{file.path}", file.path)
        self.release()

    def release(self) -> None:
        """Nothing that counts is here any more."""
        self._counts = False


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows in tables of a good size for a row group, however small the batches are."""
    waiting: list[Any] = []
    rows = size = 0
    for batch in (batch for batch in batches if batch.num_rows):
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting)
