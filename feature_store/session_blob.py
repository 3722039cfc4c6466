"""The state of a session model for a user as bytes: what the worker advances by one step per event, what the API scores from.

Layout, little endian (see `_layout`, and `packing` for the envelope): what stands in `SessionState`, the state as float32. float16
would be half of the bytes, but a number between 1/2 and 1 would be wrong by up to 2.4e-4, and again after every event.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.packing import CorruptBlob, sealed, unsealed

VERSION: Final = 1
_SEAL_BYTES: Final = 4
_SIZES: Final = struct.Struct("<BBH")  # version, bytes of the name, numbers of the state


class SessionState(NamedTuple):
    """What the store has of one user for one version of a session model.

    Attributes:
        model: `name@version`. seal: the last bytes of the user's blob that was written together with it, which are its checksum.
        newest: event time of the newest event in the state, ms. kind, order: its type, and a number made of its item's id. 0: none.
        steps: events in the state. state: float32[H].
    """

    model: str
    seal: bytes
    newest: int
    kind: int
    order: int
    steps: int
    state: NDArray[np.float32]


class SessionColumns(NamedTuple):
    """The states of D users, as `SessionState` names them: int64[D], uint8[D], uint64[D], int64[D], float32[D, H]."""

    newest: NDArray[np.int64]
    kind: NDArray[np.uint8]
    order: NDArray[np.uint64]
    steps: NDArray[np.int64]
    state: NDArray[np.float32]


def pack_sessions(model: str, sessions: SessionColumns, user_blobs: Sequence[bytes]) -> list[bytes]:
    """One blob per user, each for the user's blob that is written together with it."""
    name, (count, size) = model.encode(), sessions.state.shape
    records = np.zeros(count, _layout(len(name), size))  # all at once: a row of its own for each user would take twice the time
    records["version"], records["name_bytes"], records["size"], records["name"] = VERSION, len(name), size, name
    records["seal"] = np.frombuffer(b"".join(blob[-_SEAL_BYTES:] for blob in user_blobs), np.uint8).reshape(count, _SEAL_BYTES)
    for field, column in sessions._asdict().items():
        records[field] = column
    octets, width = records.tobytes(), records.itemsize
    return [sealed(octets[start : start + width]) for start in range(0, len(octets), width)]


def session_of(user_blob: bytes, blob: bytes | None = None) -> SessionState | None:
    """The state after exactly what this user's blob knows; None: there is none, it is damaged, or the user's blob was written
    without it (then it lacks events)."""
    try:
        found = unpack_session(blob) if blob else None
    except CorruptBlob:
        return None
    return found if found and found.seal == user_blob[-_SEAL_BYTES:] else None


def unpack_session(blob: bytes) -> SessionState:
    """Inverse of `pack_sessions` for one user.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    try:
        _, name_bytes, size = _SIZES.unpack_from(body)
        layout = _layout(name_bytes, size)
        if len(body) != layout.itemsize:
            raise CorruptBlob(f"session blob: {len(body)} bytes, expected {layout.itemsize}")
        record = np.frombuffer(body, layout)[0]
        name = bytes(record["name"]).decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise CorruptBlob(f"session blob: {error}") from error
    newest, kind, order, steps = (int(record[field]) for field in SessionColumns._fields[:-1])
    return SessionState(name, record["seal"].tobytes(), newest, kind, order, steps, record["state"].astype(np.float32))


@lru_cache(maxsize=16)
def _layout(name_bytes: int, size: int) -> np.dtype[np.void]:
    """One blob without its checksum. No field of it is empty: a version has a name."""
    fields: list[tuple[Any, ...]] = [
        ("version", "u1"), ("name_bytes", "u1"), ("size", "<u2"), ("seal", "u1", (_SEAL_BYTES,)), ("newest", "<i8"),
        ("kind", "u1"), ("order", "<u8"), ("steps", "<u4"), ("name", f"S{max(1, name_bytes)}"), ("state", "<f4", (size,)),
    ]  # fmt: skip
    return np.dtype(fields)
