"""Files that survive a crash: written under another name, forced to disk, then renamed; and the lock of a model's folder."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from batch.durable import sync_to_disk
from feature_store.version_manifest import CorruptVersion, checked_model_name
from schemas.errors import FreshetError

DRAFT: Final = ".draft-"
REMOVED: Final = ".removed-"
LOCK: Final = ".lock"


class NotStored(FreshetError):
    """A version or a pointer could not be written; what was there before is untouched."""


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turns a failure of the file system into `NotStored`."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        advice = "; free some space, e.g. by keeping fewer versions, and try again" if full else ""
        raise NotStored(f"{what}: not stored: {error.strerror or error}{advice}") from error


def made_folder(root: Path, model: str) -> Path:
    """The folder of a model, made if need be.

    Raises:
        CorruptVersion: it is a link.
    """
    folder = root / checked_model_name(model)
    if folder.is_symlink():
        raise CorruptVersion(f"{folder}: is a link; versions are kept below the root only")
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        sync_to_disk(folder.parent)
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a model's folder; waits while somebody else does. The kernel frees it when a process dies."""
    with os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def replace_file(path: Path, text: str) -> None:
    """Replace a file in one step and durably; only under the lock of its folder.

    Its mtime is later than that of the file before, even within one tick of the clock: so readers see that it is another one.
    """
    draft = path.with_name(f"{DRAFT}{path.name}")
    try:
        draft.write_text(text, encoding="utf-8")
        if path.exists():
            now = draft.stat().st_mtime_ns
            os.utime(draft, ns=(now, max(now, path.stat().st_mtime_ns + 1)))
        sync_to_disk(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_to_disk(path.parent)


@contextmanager
def draft_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the versions, to be filled and renamed; removed if it was not. Removes those of killed runs first.

    Whoever fills one holds its lock, which the kernel frees when the process dies: so only abandoned ones are removed.
    """
    with locked(folder):
        remove_leftovers(folder)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder))
        descriptor = os.open(draft, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        draft.chmod(0o755)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left; only under the lock of the folder. What cannot be removed stays and stops nobody."""
    for one in folder.iterdir():
        if not one.name.startswith((DRAFT, REMOVED)):
            continue
        if one.is_symlink() or not one.is_dir():
            one.unlink(missing_ok=True)
        elif _abandoned(one):
            shutil.rmtree(one, ignore_errors=True)


def _abandoned(path: Path) -> bool:
    """Whether nobody holds the lock of a draft; one that its owner has just removed needs nothing more."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def remove_folder(path: Path) -> None:
    """Remove a version: gone in one step, whatever happens while its files are removed. Only under the lock of its folder."""
    aside = path.with_name(f"{REMOVED}{path.name}")
    path.rename(aside)
    sync_to_disk(path.parent)
    shutil.rmtree(aside)
