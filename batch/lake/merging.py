"""Several ordered streams of rows as one, some rows at a time and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

I64 = NDArray[np.int64]
_END: Final = 2**63 - 1


class Keyed(NamedTuple):
    """Rows and int64[rows] by which they are ordered, not falling."""

    rows: pa.Table
    keys: I64


class Stream:
    """One of the streams; nothing is read of it before its turn.

    Args:
        chunks: its rows, in order.
        start: no key is lower.

    Attributes:
        bound: no row that is still to come has a lower key.
    """

    def __init__(self, chunks: Iterator[Keyed], start: int) -> None:
        self._chunks = chunks
        self._waiting: list[Keyed] = []
        self.bound = start

    @property
    def is_done(self) -> bool:
        """Whether everything was taken."""
        return self.bound == _END and not self._waiting

    def read(self) -> None:
        """Get some more rows."""
        chunk = next(self._chunks, None)
        if chunk is None:
            self.bound = _END
        elif len(chunk.keys):
            self._waiting.append(chunk)
            self.bound = int(chunk.keys[-1])

    def take(self, bound: int) -> list[Keyed]:
        """The rows with keys below the bound."""
        taken: list[Keyed] = []
        left: list[Keyed] = []
        for rows, keys in self._waiting:
            cut = int(np.searchsorted(keys, bound))
            taken.append(Keyed(rows.slice(0, cut), keys[:cut]))
            if cut < len(keys):
                left.append(Keyed(rows.slice(cut), keys[cut:]))
        self._waiting = left
        return taken


def merge(streams: Sequence[Stream]) -> Iterator[Keyed]:
    """All rows in the order of their keys; among equal keys in the order of the streams, whatever pieces they come in."""
    while streams:
        bound = min(stream.bound for stream in streams)
        for stream in streams:
            if stream.bound == bound:
                stream.read()
        bound = min(stream.bound for stream in streams)
        taken = [chunk for stream in streams for chunk in stream.take(bound) if len(chunk.keys)]
        if taken:
            yield _joined(taken)
        streams = [stream for stream in streams if not stream.is_done]


def _joined(chunks: list[Keyed]) -> Keyed:
    if len(chunks) == 1:
        return chunks[0]
    keys: Any = np.concatenate([chunk.keys for chunk in chunks])
    order = np.argsort(keys, kind="stable")
    return Keyed(pa.concat_tables([chunk.rows for chunk in chunks]).take(pa.array(order)), keys[order])
