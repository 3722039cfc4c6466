"""Event time: integer milliseconds since 1970-01-01 UTC inside, RFC 3339 outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EARLIEST_MS = 631_152_000_000  # 1990-01-01T00:00:00Z
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def parse_timestamp(value: int | str) -> int:
    """Milliseconds since the epoch of an RFC 3339 string with zone, or of integer milliseconds.

    Raises:
        ValueError: not RFC 3339, no zone, or no such day.

    >>> parse_timestamp("2026-01-01T10:00:00.120+01:00")
    1767258000120
    >>> parse_timestamp(1767258000120)
    1767258000120
    """
    if isinstance(value, int):
        return value
    if not _RFC_3339.fullmatch(value):
        raise ValueError("must be RFC 3339 with a zone (2026-01-01T10:00:00Z) or integer epoch milliseconds")
    return (datetime.fromisoformat(value.upper()) - _EPOCH) // _MILLISECOND


def format_timestamp(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds.

    >>> format_timestamp(1767258000120)
    '2026-01-01T09:00:00.120Z'
    """
    moment = _EPOCH + milliseconds * _MILLISECOND
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
