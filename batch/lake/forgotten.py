"""Who was forgotten, as the lake itself knows: nulls in the `users` topic."""

from __future__ import annotations

from batch.lake.lake import Lake
from batch.lake.rows import read_rows
from schemas.topics import USERS


def forgotten_users(lake: Lake) -> dict[str, int]:
    """When users were last forgotten, ms of log time; of all the lake has: a wish to be forgotten holds for older cuts too."""
    found: dict[str, int] = {}
    for rows in read_rows(lake, [USERS], ("user_id", "deleted", "log_time")):
        for row in rows.filter(rows.column("deleted")).to_pylist():
            found[row["user_id"]] = row["log_time"]
    return found
