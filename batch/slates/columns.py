"""Slates in columns: what was shown together, to whom and when, what of it was clicked, and what is known of the items."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InvalidInput

I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

NO_ITEM = -1
NEVER = np.iinfo(np.int64).max


class ItemContent(NamedTuple):
    """P items; row p of each column is item p.

    Attributes:
        ids: the items' ids.
        texts: title and description, empty where there is none.
        categories, tags, people: names per item, empty where there are none.
        numbers: float64[P, K], NaN where unknown. number_names: the K names.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]
    people: tuple[tuple[str, ...], ...]
    numbers: F64
    number_names: tuple[str, ...]

    @property
    def size(self) -> int:
        """P."""
        return len(self.ids)


class Slates(NamedTuple):
    """S slates of at most W items, oldest first.

    Attributes:
        items: int64[S, W], rows of `content`, `NO_ITEM` behind the last one.
        click_times: int64[S, W], ms, when the item was clicked in this slate, `NEVER` where it was not.
        times: int64[S], ms, when the slate was shown, not falling. sessions: int64[S], rows of `session_ids`.
        ids: the slates' ids. session_ids: the sessions' ids. content: all items.
    """

    items: I64
    click_times: I64
    times: I64
    sessions: I64
    ids: tuple[str, ...]
    session_ids: tuple[str, ...]
    content: ItemContent

    @property
    def size(self) -> int:
        """S."""
        return len(self.items)

    @property
    def shown(self) -> Bools:
        """Which places hold an item: bool[S, W]."""
        places: Bools = self.items != NO_ITEM
        return places

    @property
    def clicked(self) -> Bools:
        """Which items were clicked, whenever: bool[S, W]; the labels."""
        clicks: Bools = self.click_times != NEVER
        return clicks

    def judged(self) -> Bools:
        """Which slates have an order that can be right or wrong for a metric: at least one click, bool[S]."""
        some: Bools = np.asarray(self.clicked.any(axis=1))
        return some

    def instructive(self) -> Bools:
        """Which slates teach an order: neither nothing nor everything was clicked, bool[S]."""
        skipped: Bools = np.asarray((self.shown & ~self.clicked).any(axis=1))
        return self.judged() & skipped


class Split(NamedTuple):
    """Rows of slates by time: fitted on, chosen by, judged on; `boundary` is the first moment of the test, ms."""

    fit: I64
    validation: I64
    test: I64
    boundary: int

    @property
    def train(self) -> I64:
        """All slates before the boundary."""
        return np.concatenate((self.fit, self.validation))


def split_by_time(slates: Slates, test_share: float = 0.2, validation_share: float = 0.2) -> Split:
    """The last `test_share` of the slates is the test; of the others, the last `validation_share` is the validation.

    Both cuts are moments: slates of one moment are never divided, so a part may be a little larger than its share.

    Raises:
        InvalidInput: a part has no slate that could be judged or learnt from.
    """
    boundary = int(slates.times[int((1 - test_share) * slates.size)]) if slates.size else 0
    before = slates.times[slates.times < boundary]
    middle = int(before[int((1 - validation_share) * len(before))]) if len(before) else boundary
    rows = np.arange(slates.size)
    parts = (slates.times < middle, (slates.times >= middle) & (slates.times < boundary), slates.times >= boundary)
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if not np.any(part & slates.instructive()):
            raise InvalidInput(f"{slates.size} slates: none of the {name} part has both clicked and other items; more are needed")
    return Split(rows[parts[0]], rows[parts[1]], rows[parts[2]], boundary)
