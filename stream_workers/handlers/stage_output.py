"""What the user stage wants done, as values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class StageOutput:
    """What a stage wants done, as values.

    Attributes:
        puts, deletes: changes of the store.
        waves: target partition and value, for `item-signals`; each wave is acknowledged before the next is sent.
        interactions: values for this partition of `interactions`; each is acknowledged before the next is sent.
        applied, duplicates: events that changed something, events that were already known.
        stepped, encoded: events that moved a session state by a step, session states that were made from a history.
    """

    puts: dict[bytes, bytes] = field(default_factory=dict)
    deletes: set[bytes] = field(default_factory=set)
    waves: list[list[tuple[int, bytes]]] = field(default_factory=list)
    interactions: list[bytes] = field(default_factory=list)
    applied: int = 0
    duplicates: int = 0
    stepped: int = 0
    encoded: int = 0
