"""Feature vectors as an impression carries them: float16, base64, one text an item, with a digest of the features' names. Pure."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
LONGEST: Final = 1024
"""Most values of one vector; what is longer is no vector of ours."""
_STORED: Final = np.dtype("<f2")
_LARGEST: Final = float(np.finfo(np.float16).max)


def digest_of(names: Sequence[str]) -> str:
    """What tells one set of features, in their order, from any other: 12 hexadecimal digits.

    >>> digest_of(["log_count", "velocity"])
    'c0994991e426'
    """
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def encoded(vectors: F32) -> list[str]:
    """float32[N, F] as N texts of 8 F / 3 characters; what float16 cannot hold becomes its largest number.

    >>> encoded(np.array([[1.0, -2.0]], np.float32))
    ['ADwAwA==']
    """
    stored = np.ascontiguousarray(np.clip(vectors, -_LARGEST, _LARGEST).astype(_STORED))
    return [b64encode(row.tobytes()).decode() for row in stored]


def octets_of(text: Any) -> bytes | None:
    """The bytes of one encoded vector; None for what is none: other producers may mean something else by the name."""
    if not isinstance(text, str) or len(text) > 4 * LONGEST:
        return None
    try:
        octets = b64decode(text, validate=True)
    except ValueError:
        return None
    return octets if octets and len(octets) % _STORED.itemsize == 0 else None


def decoded(octets: bytes) -> F32:
    """float32[F] of the bytes of a vector.

    >>> decoded(b"\\x00\\x3c\\x00\\xc0")
    array([ 1., -2.], dtype=float32)
    """
    return np.frombuffer(octets, _STORED).astype(np.float32)
