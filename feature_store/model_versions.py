"""Published model versions as they are read: checked, then mapped into memory. Nothing here writes; `batch.registry` does.

A version is used whole or not at all: its name, the seal of its manifest, the size and the SHA-256 of its files must all fit.
No file is looked for outside the root, no link is followed below it, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from feature_store.version_arrays import StoredVersion, ids_of, view_arrays
from feature_store.version_manifest import (
    ARRAYS,
    IDS,
    MANIFEST,
    CorruptVersion,
    Manifest,
    checked_model_name,
    is_model_name,
    is_version_name,
    unpack_manifest,
    version_name,
)
from schemas.errors import InvalidInput


def model_names(root: Path) -> tuple[str, ...]:
    """The models below the root, by name; none where there is no such folder."""
    return _folders(root, is_model_name)


def version_names(root: Path, model: str) -> tuple[str, ...]:
    """The versions of a model, oldest first, whole or not; none where there is no such model."""
    folder = root / checked_model_name(model)
    return () if folder.is_symlink() else _folders(folder, is_version_name)


def _folders(folder: Path, named: Callable[[str], bool]) -> tuple[str, ...]:
    try:
        entries = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted(one.name for one in entries if named(one.name) and not one.is_symlink() and one.is_dir()))


def model_folder(root: Path, model: str) -> Path:
    """Where the versions of a model lie.

    Raises:
        InvalidInput: there is no such model; names those that there are.
    """
    if checked_model_name(model) not in model_names(root):
        there = ", ".join(model_names(root))
        raise InvalidInput(f"no model {model!r} in {root}; {f'there are: {there}' if there else 'it holds no model yet'}")
    return root / model


def version_folder(root: Path, model: str, version: str) -> Path:
    """Where a version lies.

    Raises:
        InvalidInput: there is no such model or version; names those that there are.
    """
    folder, names = model_folder(root, model), version_names(root, model)
    if version not in names:
        there = f"there are: {', '.join(names)}" if names else "it has no version yet"
        raise InvalidInput(f"model {model!r} has no version {version!r}; {there}")
    return folder / version


def read_manifest(root: Path, model: str, version: str) -> Manifest:
    """The manifest of a version, if seal, name and the sizes of the files fit.

    Raises:
        InvalidInput: unknown model or version.
        CorruptVersion: it is damaged. LayoutMismatch: a newer Freshet wrote it.
    """
    folder = version_folder(root, model, version)
    manifest = unpack_manifest(read_plain_file(folder / MANIFEST), folder / MANIFEST)
    if (manifest.model, version_name(manifest)) != (model, version):
        raise CorruptVersion(f"{folder}: holds {version_name(manifest)} of {manifest.model!r}; it was moved or changed")
    for name, stored in manifest.files.items():
        with _opened(folder / name) as file:
            _check_size(folder / name, os.fstat(file.fileno()).st_size, stored.bytes)
    return manifest


def read_version(root: Path, model: str, version: str, *, checksums: bool = True) -> StoredVersion:
    """A version, checked.

    Args:
        checksums: False leaves out the SHA-256 of the arrays, which reads them whole (about 0.6 GB/s); all else is still checked.

    Raises:
        InvalidInput: unknown model or version.
        CorruptVersion: it is damaged. LayoutMismatch: a newer Freshet wrote it.
    """
    manifest, folder = read_manifest(root, model, version), root / model / version
    arrays, ids = (_mapped(folder / name, manifest, hashed) for name, hashed in ((ARRAYS, checksums), (IDS, True)))
    items, users = (ids_of(ids, name, folder / IDS) for name in ("items", "users"))
    return StoredVersion(model, version, manifest, arrays, items, users)


def read_plain_file(path: Path) -> bytes:
    """A small file, whole.

    Raises:
        CorruptVersion: it is missing, a link or not readable.
    """
    with _opened(path) as file:
        return file.read()


def map_file(path: Path) -> mmap.mmap:
    """The bytes of a file as they lie on disk, read only when they are looked at.

    Raises:
        CorruptVersion: it is missing, a link, empty or not readable.
    """
    with _opened(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise CorruptVersion(f"{path}: is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _mapped(path: Path, manifest: Manifest, hashed: bool) -> dict[str, NDArray[Any]]:
    """The arrays of a file; what was checked is what is mapped, whatever happens to the folder in between."""
    stored, content = manifest.files[path.name], map_file(path)
    _check_size(path, len(content), stored.bytes)
    if hashed and hashlib.sha256(content).hexdigest() != stored.sha256:
        raise CorruptVersion(f"{path}: its SHA-256 is not the one in the manifest; the file was changed or damaged")
    return view_arrays(content, path)


def _check_size(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise CorruptVersion(f"{path}: {found} bytes, the manifest says {expected}; the file was cut or changed")


def _opened(path: Path) -> BinaryIO:
    """The file, open for reading bytes, if it is a file and no link."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise CorruptVersion(f"{path}: {'is a link' if path.is_symlink() else error.strerror}") from error
