"""From what is known of a person outside of the models to what kernels are asked with."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from stream_workers.models.online.columns import WEIGHTS, History
from stream_workers.models.online.event_log import EventLog, mark_taken
from stream_workers.models.online.id_table import IdTable
from stream_workers.models.online.settings import Numbers
from stream_workers.models.online.world import Person


def ask_with(
    person: Person,
    log: EventLog,
    numbers: Numbers,
    items: IdTable,
    user: int,
    history: History,
    now_ms: int,
    exclude: Collection[str] = (),
) -> None:
    """Fill `person` with this history at this moment.

    Args:
        user: code, -1 unknown; what the log has of them must not be shown either.
        history: of an item that occurs more than once, what was said last counts.
        exclude: ids that must not be shown.
    """  # fmt: skip
    person.stamp[0] += 1
    stamp = int(person.stamp[0])
    taken = mark_taken(log, user, numbers.taken_limit, numbers.repeats, stamp, person.marks, person.taken)
    weights = WEIGHTS[history.types]
    codes = items.known(history.items)
    newest = {code: at for at, code in reversed(list(enumerate(codes))) if code >= 0}
    against = weights < 0
    refused = [code for code, at in newest.items() if against[at]] if numbers.repeats else newest
    hidden = np.array(list({*refused, *items.known(exclude)} - {-1}), np.int64)
    hidden = hidden[person.marks[hidden] != stamp]
    person.marks[hidden] = stamp
    person.taken[taken : taken + len(hidden)] = hidden
    taken += len(hidden)
    recent = sorted(newest.values())[: len(person.items)]
    length = len(recent)
    person.items[:length] = [codes[at] for at in recent]
    person.times[:length], person.liked[:length] = history.timestamps[recent], weights[recent]
    person.counts[:] = length, taken, user
    person.now[0] = now_ms
