"""What one commit changed in the arrays of the online models, as words of 8 bytes. Numbers little endian.

    delta = version u8 | epoch u64 | commit u32 | msgpack [(array, first word of each run, words of each run, the words)]

A word's number counts from the start of its array, so it stays valid while rows are only added behind. Words are values, not
differences: taking over a delta twice does no harm.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from feature_store.keys import model_delta_key
from feature_store.packing import CorruptBlob, sealed, unsealed
from feature_store.page_format import VERSION

_HEAD: Final = struct.Struct("<BQI")


class Words(NamedTuple):
    """Words of one array: their numbers, ascending int64[n], and what they hold, uint64[n]."""

    numbers: NDArray[np.int64]
    values: NDArray[np.uint64]


class Delta(NamedTuple):
    """What a commit changed: of which epoch, which commit, and the words by array, at least one of each."""

    epoch: int
    commit: int
    words: Mapping[str, Words]


class DeltaId(NamedTuple):
    """One delta, and the bytes of its blob."""

    commit: int
    size: int

    @property
    def key(self) -> bytes:
        """Its key in the store."""
        return model_delta_key(self.commit)


def pack_delta(delta: Delta) -> bytes:
    """The blob under the delta's key."""
    arrays = [(name, *_runs(words.numbers), words.values.astype("<u8").tobytes()) for name, words in delta.words.items()]
    return sealed(_HEAD.pack(VERSION, delta.epoch, delta.commit) + msgpack.packb(arrays))


def unpack_delta(blob: bytes) -> Delta:
    """Inverse of `pack_delta`.

    Raises:
        CorruptBlob: damaged, or written by another version.
    """
    body = unsealed(blob, VERSION)
    try:
        _, epoch, commit = _HEAD.unpack_from(body)
        words = {name: _expanded(*packed) for name, *packed in msgpack.unpackb(memoryview(body)[_HEAD.size :])}
    except (struct.error, ValueError, TypeError, msgpack.UnpackException) as error:
        raise CorruptBlob(f"model delta: {error}") from error
    return Delta(epoch, commit, words)


def _runs(numbers: NDArray[np.int64]) -> tuple[bytes, bytes]:
    """First number and length of every run of successive numbers."""
    ends = np.flatnonzero(numbers[1:] != numbers[:-1] + 1) + 1
    bounds = np.concatenate(([0], ends, [len(numbers)]))
    return numbers[bounds[:-1]].astype("<u4").tobytes(), (bounds[1:] - bounds[:-1]).astype("<u4").tobytes()


def _expanded(starts: bytes, lengths: bytes, values: bytes) -> Words:
    first, count = np.frombuffer(starts, "<u4").astype(np.int64), np.frombuffer(lengths, "<u4").astype(np.int64)
    words = np.frombuffer(values, "<u8")
    if len(first) != len(count) or count.sum() != len(words):
        raise ValueError("runs and words do not match")
    behind = np.cumsum(count) - count  # words of the runs before
    return Words(np.repeat(first - behind, count) + np.arange(len(words)), words)
