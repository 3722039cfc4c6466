"""Bytes of ids and numbers: what the blobs of users and items are made of.

Every blob is `version u8 | body | crc32 u32`, little endian. The checksum turns a damaged blob into an error instead of a wrong
answer.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.errors import FreshetError

_U24, _U32, _U64, _LONG = 251, 252, 253, 254
_U16_STRUCT: Final = struct.Struct("<H")
_CRC: Final = struct.Struct("<I")
_DIGITS: Final = frozenset("0123456789")


class CorruptBlob(FreshetError):
    """A stored blob has a wrong checksum, an unknown version or ends too early."""


def pack_id(identifier: str) -> bytes:
    """One id, self-delimiting: decimal numbers as 4, 5 or 9 bytes, other ids as their length and their UTF-8.

    >>> pack_id("2171847").hex(), pack_id("a-1").hex()
    ('fbc72321', '02612d31')
    """
    if len(identifier) < 20 and (identifier == "0" or (identifier[0] != "0" and _DIGITS.issuperset(identifier))):
        number = int(identifier)
        if number < 1 << 24:
            return bytes((_U24,)) + number.to_bytes(3, "little")
        if number < 1 << 32:
            return bytes((_U32,)) + number.to_bytes(4, "little")
        if number < 1 << 64:
            return bytes((_U64,)) + number.to_bytes(8, "little")
    encoded = identifier.encode()
    if len(encoded) <= _U24:
        return bytes((len(encoded) - 1,)) + encoded
    return bytes((_LONG,)) + _U16_STRUCT.pack(len(encoded)) + encoded


_NUMBER_BYTES: Final = {_U24: 3, _U32: 4, _U64: 8}


def unpack_ids(blob: bytes, at: int, count: int) -> tuple[list[str], int]:
    """`count` ids from `blob` at offset `at`; returns them and the offset behind them.

    Raises:
        CorruptBlob: the blob ends too early.

    >>> unpack_ids(pack_id("7") + pack_id("a-1"), 0, 2)
    (['7', 'a-1'], 8)
    """
    ids: list[str] = []
    try:
        for _ in range(count):
            tag = blob[at]
            at += 1
            if tag in _NUMBER_BYTES:
                end = at + _NUMBER_BYTES[tag]
                ids.append(str(int.from_bytes(blob[at:end], "little")))
            else:
                if tag == _LONG:
                    size = _U16_STRUCT.unpack_from(blob, at)[0]
                    at += 2
                else:
                    size = tag + 1
                end = at + size
                ids.append(str(blob[at:end], "utf-8"))
            at = end
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise CorruptBlob(f"ids end too early at byte {at}") from error
    if at > len(blob):
        raise CorruptBlob(f"ids end too early at byte {at}")
    return ids, at


def sealed(body: bytes) -> bytes:
    """The body with its checksum behind it."""
    return body + _CRC.pack(zlib.crc32(body))


def unsealed(blob: bytes, version: int) -> bytes:
    """The body of a blob.

    Raises:
        CorruptBlob: wrong checksum or version.
    """
    if len(blob) < 5 or _CRC.unpack_from(blob, len(blob) - 4)[0] != zlib.crc32(blob[:-4]):
        raise CorruptBlob("checksum does not match")
    if blob[0] != version:
        raise CorruptBlob(f"format version {blob[0]}, this code reads {version}")
    return blob[:-4]


class NarrowRows:
    """Rows of non-negative integers as bytes, each row with as few bytes per number as its largest needs: 1, 2, 4 or 6.

    >>> rows = NarrowRows(np.array([[1, 2], [1, 256]]))
    >>> rows.widths, rows.row(0, 2), rows.row(1, 1)
    ([1, 2], b'\\x01\\x02', b'\\x01\\x00')
    """

    def __init__(self, matrix: NDArray[np.int64]) -> None:
        largest = matrix.max(axis=1, initial=0)
        widths = 1 + (largest >= 1 << 8) + 2 * (largest >= 1 << 16) + 2 * (largest >= 1 << 32)
        octets = np.ascontiguousarray(matrix, "<i8").view(np.uint8).reshape(*matrix.shape, 8)
        # One conversion of the whole matrix for each width that occurs, instead of one for each row.
        self._tables = {width: octets[:, :, :width].tobytes() for width in set(widths.tolist())}
        self._columns = matrix.shape[1]
        self.widths: list[int] = widths.tolist()

    def row(self, row: int, count: int) -> bytes:
        """The first `count` numbers of a row."""
        width = self.widths[row]
        start = row * self._columns * width
        return self._tables[width][start : start + count * width]


def unpack_unsigned(blob: bytes, at: int, count: int, width: int) -> NDArray[np.int64]:
    """Inverse of `NarrowRows.row`: `count` integers of `width` bytes each at offset `at`."""
    if at + count * width > len(blob):
        raise CorruptBlob(f"numbers end too early at byte {at}")
    wide = np.zeros((count, 8), np.uint8)
    wide[:, :width] = np.frombuffer(blob, np.uint8, count * width, at).reshape(count, width)
    return wide.view("<u8").reshape(count).astype(np.int64)
