"""By which names the columns of event files are known: CSV headers and the fields of JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

Columns: TypeAlias = Mapping[str, str]
"""Column to the name that the file has for it."""

# Usual spellings, lower case, without underscores; the first that a file has is taken.
_SPELLINGS: Final = {
    "user": ("user", "userid", "visitorid", "reviewerid"),
    "item": ("item", "itemid", "movieid", "asin"),
    "time": ("timestamp", "time", "ts", "unixreviewtime"),
    "type": ("type", "eventtype"),
    "value": ("value", "rating", "overall"),
    "event_id": ("eventid",),
    "session_id": ("session", "sessionid"),
    "request_id": ("request", "requestid"),
    "position": ("position",),
}
NEEDED: Final = ("user", "item", "time")


def names_of_columns(names: Iterable[str], chosen: Columns) -> dict[str, str]:
    """Which of a file's names stands for which column; columns that it lacks are left out.

    Args:
        names: of the file, in its order.
        chosen: names that a person gave, as they stand in the file; they go before the usual ones.

    >>> names_of_columns(["reviewerID", "asin", "when", "overall"], {"time": "when"})
    {'user': 'reviewerID', 'item': 'asin', 'time': 'when', 'value': 'overall'}
    """
    known = list(names)
    spelled = {name.lower().replace("_", ""): name for name in reversed(known)}
    usual = {column: [spelled[one] for one in spellings if one in spelled] for column, spellings in _SPELLINGS.items()}
    asked = {column: [name] if name in known else [] for column, name in chosen.items()}
    return {column: found[0] for column, found in {**usual, **asked}.items() if found}


def accepted_names(column: str, chosen: Columns) -> str:
    """What a column may be called, for a message.

    >>> accepted_names("item", {})
    'item or itemid or movieid or asin'
    """
    return repr(chosen[column]) if column in chosen else " or ".join(_SPELLINGS[column])
