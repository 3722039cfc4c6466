"""One measured figure."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """What a benchmark prints.

    Attributes:
        name, value, unit: the figure.
        baseline: what it is compared with, measured in the same run; None if it stands alone.
        ratio: value divided by the baseline's value.
        wanted: the bound of the issue that asked for it, as text.
    """

    name: str
    value: float
    unit: str
    baseline: str | None = None
    ratio: float | None = None
    wanted: str = ""
