"""Where the files of a lake are: a folder, or any place that fsspec reaches; with the few operations that a commit needs."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from batch.durable import sync_to_disk
from schemas.errors import FreshetError, InvalidInput, Unavailable

LOCK: Final = "_lock"
_POLL_SECONDS: Final = 0.1


class LakeUnavailable(Unavailable):
    """The lake's storage cannot be read or written now, or is full."""


class LakeBusy(Unavailable):
    """Another sync or compaction has this lake."""


class DamagedLake(FreshetError):
    """A file of the lake is missing or is not what was written; the message names it and says what to do."""


class Storage:
    """The files below one root, named by paths relative to it with `/`.

    Args:
        url: a folder, or a URL of fsspec (`s3://bucket/lake`, `memory://lake`, ...).
        filesystem: overrides the URL's; `url` is then a path in it.

    Attributes:
        url: as given.
        filesystem, root: fsspec's file system and the root's path in it.

    Raises:
        InvalidInput: no such kind of URL, or its fsspec package is not installed.
    """

    def __init__(self, url: str, filesystem: Any = None) -> None:
        self.url = url
        self.root: str
        try:
            self.filesystem, self.root = (filesystem, url) if filesystem else fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise InvalidInput(f"lake {url!r}: {error}; expected a folder or a URL that fsspec knows") from error
        self.root = self.root.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether files can be locked and linked."""
        return isinstance(self.filesystem, LocalFileSystem)

    def full(self, path: str) -> str:
        """The path as the file system knows it."""
        return f"{self.root}/{path}"

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Path to size in bytes of every file below a folder; nothing where there is no such folder."""
        with self._explained(folder):
            self.filesystem.invalidate_cache()
            found = self.filesystem.find(self.full(folder).rstrip("/"), detail=True)
        return {path[len(self.root) + 1 :]: int(info["size"]) for path, info in found.items()}

    def size(self, path: str) -> int:
        """Bytes of a file."""
        with self._explained(path):
            return int(self.filesystem.size(self.full(path)))

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with self._explained(path):
            return bool(self.filesystem.exists(self.full(path)))

    def read(self, path: str) -> bytes:
        """The content of a small file."""
        with self._explained(path):
            content: bytes = self.filesystem.cat_file(self.full(path))
        return content

    def open(self, path: str) -> IO[bytes]:
        """A file for reading.

        Raises:
            FileNotFoundError: there is none.
        """
        with self._explained(path):
            opened: IO[bytes] = self.filesystem.open(self.full(path), "rb")
        return opened

    @contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        """A new file, safe from a power cut when the block ends."""
        with self._explained(path):
            self.filesystem.makedirs(self.full(path).rpartition("/")[0], exist_ok=True)
            with self.filesystem.open(self.full(path), "wb") as file:
                yield file
            if self.is_local:
                sync_to_disk(Path(self.full(path)))

    def create(self, path: str, content: bytes, staged: str) -> bool:
        """Write a small file as a whole, unless there is one of that name.

        On a local disk it is written at `staged` and linked; elsewhere the object store refuses the second of two.

        Returns:
            False: there is one already; it is unchanged.
        """
        if self.is_local:
            with self.writing(staged) as file:
                file.write(content)
        with self._explained(path):
            try:
                self._create(path, content, staged)
            except FileExistsError:
                return False
        return True

    def _create(self, path: str, content: bytes, staged: str) -> None:
        if not self.is_local:
            self.filesystem.pipe_file(self.full(path), content, mode="create")
            return
        target = Path(self.full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(self.full(staged))
        sync_to_disk(target.parent)

    def move(self, path: str, target: str) -> None:
        """Give a file another name; nothing where it is gone because another process moved it."""
        with self._explained(path):
            self.filesystem.makedirs(self.full(target).rpartition("/")[0], exist_ok=True)
            try:
                self.filesystem.mv(self.full(path), self.full(target))
            except FileNotFoundError:
                if not self.filesystem.exists(self.full(target)):
                    raise

    def delete(self, path: str) -> None:
        """Remove a file or a folder with all that is in it; nothing where it is gone."""
        with self._explained(path):
            try:
                self.filesystem.rm(self.full(path), recursive=True)
            except FileNotFoundError:
                return

    def found(self, pattern: str) -> list[str]:
        """Paths that fit a pattern with `*`."""
        with self._explained(pattern):
            self.filesystem.invalidate_cache()
            return [path[len(self.root) + 1 :] for path in self.filesystem.glob(self.full(pattern))]

    @contextmanager
    def locked(self, wait_seconds: float, say: Callable[[str], None]) -> Iterator[None]:
        """Keep other syncs and compactions out, where the storage can (a local disk); the lock ends with the process.

        Raises:
            LakeBusy: another one has not ended within `wait_seconds`.
        """
        if not self.is_local:
            yield
            return
        with self._explained(LOCK):
            Path(self.root).mkdir(parents=True, exist_ok=True)
            lock = os.open(self.full(LOCK), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._take_lock(lock, wait_seconds, say)
            yield
        finally:
            os.close(lock)

    def _take_lock(self, lock: int, wait_seconds: float, say: Callable[[str], None]) -> None:
        until, told = time.monotonic() + wait_seconds, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise LakeBusy(f"lake {self.url}: another sync or compaction is running; try again later") from error
            else:
                return
            if not told:
                say(f"another sync or compaction of {self.url} is running; waiting for it")
                told = True
            time.sleep(_POLL_SECONDS)

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        """Errors of the storage in our words, except those by which it says that a file is or is not there."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            why = "no space is left" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
            raise LakeUnavailable(f"lake {self.url}: {path}: {why}") from error
