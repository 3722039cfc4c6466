"""How the kernels are compiled, and the arithmetic they share."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

# Sums may be reordered, so that dot products use vector instructions; NaN and infinity keep their meaning, the guards need them.
kernel: Final[Any] = njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"reassoc", "contract", "nsz", "arcp"},
    boundscheck=False,
    no_cfunc_wrapper=True,
)
LARGEST_EXPONENT: Final = 60.0  # decayed sums are brought down when their unit has grown by 2^60


@kernel
def dot(a: F32, b: F32) -> float:
    """Dot product of two float32[k]."""
    total = np.float32(0.0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return float(total)


@kernel
def logarithms(values: F32, mantissas: F32, out: F32) -> None:
    """Natural logarithms of positive float32[n] to about 1e-4, many at a time.

    Args:
        mantissas: float32[n], scratch; another array than `values` and `out`, or vector instructions could not be used.
    """
    bits, fractions = values.view(np.int32), mantissas.view(np.int32)
    for i in range(values.shape[0]):
        out[i] = np.float32((bits[i] >> np.int32(23)) - np.int32(127))
        fractions[i] = np.int32((bits[i] & np.int32(0x007FFFFF)) | np.int32(0x3F800000))
    for i in range(values.shape[0]):
        m = mantissas[i]  # 1 <= m < 2; a polynomial for its logarithm to the base of 2
        log2 = np.float32(-2.7911176) + m * (
            np.float32(5.0476475) + m * (np.float32(-3.4901006) + m * (np.float32(1.4941380) + m * (
                np.float32(-0.3514768) + m * np.float32(0.0347870)))))  # fmt: skip
        out[i] = np.float32(0.6931472) * (out[i] + log2)


@kernel
def weight_at(time: float, landmark: float, half_life: float) -> float:
    """What an event at this time weighs in sums of this landmark, see `grown`; 0 before the first event."""
    exponent = (time - landmark) / half_life
    return 2.0**exponent if exponent > -1000.0 else 0.0  # False for NaN


@kernel
def less(total: float, part: float) -> np.float32:
    """A float32 sum without one of its parts; what rounding leaves of nothing is nought."""
    left = np.float32(total) - np.float32(part)
    return left if left > 1e-6 * part else np.float32(0.0)


@kernel
def grown(t: float, landmark: F64, half_life: float, decayed: F32) -> float:
    """The weight at time t of forward decay (Cormode et al., 2009): 2^((t - landmark) / half_life), so nothing else is ever
    touched.

    When the exponent becomes too large the landmark moves to t and all of `decayed` is brought down, once in 60 half-lives.

    Args:
        t, half_life: ms. landmark: float64[1], NaN before the first event. decayed: float32, the sums in that unit, changed in
            place.
    """
    if np.isnan(landmark[0]):
        landmark[0] = t
    exponent = (t - landmark[0]) / half_life
    if exponent > LARGEST_EXPONENT:
        decayed *= np.float32(2.0 ** (-exponent))
        landmark[0] = t
        exponent = 0.0
    return 2.0**exponent if exponent > -1000.0 else 0.0
