"""What the readers of event files share: lines of text, ids of rows, and the contract's form of an interaction."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ops.sources import JsonObject, SourceEvent, checked_id, finite_number, valid_id
from schemas.errors import InvalidInput
from schemas.events import TOPIC_OF_TYPE
from schemas.topics import FEEDBACK


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a text file, gzipped or not, without a byte order mark.

    Bytes that are not UTF-8 become lone surrogates, which `checked_id` refuses: one bad name does not end the reading.

    Raises:
        InvalidInput: the file cannot be read, or is damaged.
    """
    for number, line in enumerate(raw_lines(path)):
        text = line.decode(errors="surrogateescape")
        yield text.removeprefix("\ufeff") if number == 0 else text


def raw_lines(path: Path) -> Iterator[bytes]:
    """Lines of a file, gzipped or not, with their line ends.

    Raises:
        InvalidInput: the file cannot be read, or is damaged.
    """
    try:
        with _opened(path) as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"{path} cannot be read: {reason}") from error


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def dat_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of a `::` separated file, without empty lines."""
    for number, text in enumerate(text_lines(path), start=1):
        if line := text.rstrip("\r\n"):
            yield number, line.split("::")


def cells(row: list[str], expected: int) -> list[str]:
    """The row itself.

    Raises:
        ValueError: another number of cells than expected.
    """
    if len(row) != expected:
        raise ValueError(f"{len(row)} cells, expected {expected}")
    return row


def row_id(line: int, row: bytes) -> str:
    """An event id that stays the same whenever the same file is read, even after more rows were appended to it."""
    return f"{line}-{zlib.crc32(row):08x}"


def identity_of(fields: JsonObject, line: int, row: bytes) -> str:
    """The producer's own event id, or the row's."""
    given = fields.get("event_id")
    return row_id(line, row) if given is None else valid_id("event_id", given)


def interaction(kind: str, event_id: str, user: str, item: str, time_ms: int, amount: object, extra: JsonObject) -> SourceEvent:
    """A view, click or feedback as the contract writes it; `extra` fields are kept.

    Raises:
        ValueError: unknown type, bad id, or a value that is not a number.
    """
    topic = TOPIC_OF_TYPE.get(kind)
    if topic is None:
        raise ValueError(f"type {kind!r}: expected one of {', '.join(TOPIC_OF_TYPE)}")
    value = {
        **extra,
        "event_id": event_id,
        "user_id": checked_id("user", user),
        "item_id": checked_id("item", item),
        "timestamp": time_ms,
    }
    if topic == FEEDBACK:
        value["type"] = kind
        if amount is not None:
            value["value"] = finite_number("value", amount)
    return SourceEvent(topic, user, value, time_ms)
