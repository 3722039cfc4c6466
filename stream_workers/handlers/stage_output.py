"""What the user stage wants done, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class StageOutput:
    """What a stage wants done, as values.

    Attributes:
        puts, deletes: changes of the store.
        waves: target partition and value, for `item-signals`; each wave is acknowledged before the next is sent.
        interactions: values for this partition of `interactions`; each is acknowledged before the next is sent.
        applied, duplicates: events that changed something, events that were already known.
        forgotten: users. taken_back: events of theirs that were taken back from the counts of items. beyond: those that could not.
        stepped, encoded: events that moved a session state by a step, session states that were made from a history.
    """

    puts: dict[bytes, bytes] = field(default_factory=dict)
    deletes: set[bytes] = field(default_factory=set)
    waves: list[list[tuple[int, bytes]]] = field(default_factory=list)
    interactions: list[bytes] = field(default_factory=list)
    applied: int = 0
    duplicates: int = 0
    forgotten: int = 0
    taken_back: int = 0
    beyond: int = 0
    stepped: int = 0
    encoded: int = 0

    def put(self, blobs: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]) -> None:
        """Write these keys, also where they were to be deleted."""
        written = dict(blobs)
        self.puts.update(written)
        self.deletes.difference_update(written)

    def delete(self, keys: Iterable[bytes]) -> None:
        """Remove these keys, also where they were to be written."""
        for key in keys:
            self.puts.pop(key, None)
            self.deletes.add(key)
