"""What the blend's network saw of candidates, as published rankers and the log of impressions have it."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from feature_store.feature_vectors import digest_of, encoded
from stream_workers.models.online.columns import Proposal
from stream_workers.models.online.features import FEATURES

if TYPE_CHECKING:
    from serving.decision import Decision

F32 = NDArray[np.float32]
LOG_SHARE: Final = "log_share"
LOGGED_PLACES: Final = 50
"""Places of a list whose features an impression carries, at most; 7 kB."""
_LEAST_SHARE: Final = -30.0


def feature_names(sources: tuple[str, ...]) -> tuple[str, ...]:
    """The names of `Proposal.features`; those of published models by their names instead of the bank's slots.

    Args:
        sources: names of the proposal's sources; those behind the bank's own have no features.
    """
    slots = [name for name in FEATURES if name.startswith("place_")]
    named = dict(zip(slots, (f"place_{name}" for name in sources), strict=False))
    named |= {slot.removeprefix("place_"): new.removeprefix("place_") for slot, new in named.items() if "batch_" in slot}
    return tuple(named.get(name, name) for name in FEATURES)


@lru_cache(maxsize=64)
def digest(sources: tuple[str, ...]) -> str:
    """Digest of the names of the columns of `vectors`."""
    return digest_of((*feature_names(sources), LOG_SHARE))


def vectors(proposal: Proposal, rows: slice | list[int]) -> F32:
    """Features of some candidates as the blend's network saw them, standardised; last, the log of the blend's probability.

    Args:
        proposal: with features. rows: which of its candidates.

    Returns:
        float32[rows, F + 1].
    """
    if proposal.features is None:
        raise ValueError("a proposal without features")
    around = proposal.scores.astype(np.float64) - float(proposal.scores.max())
    log_shares = np.maximum(around - np.log(np.exp(around).sum()), _LEAST_SHARE)
    table: F32 = np.concatenate((proposal.features[:, rows].T, log_shares[rows, None].astype(np.float32)), axis=1)
    return table


def seen_rows(proposal: Proposal) -> list[int]:
    """The candidates that the network saw, best first: all but what a product team's own source brought along."""
    if proposal.features is None:
        return []
    found: list[int] = np.flatnonzero(~np.isnan(proposal.features[0])).tolist()
    return found


def logged(decision: Decision) -> dict[str, str]:
    """Item to its features, encoded, of the first places of a list that are the blend's; none where the request is no sample."""
    blended = decision.blended
    if not decision.sampled or blended is None or blended.proposal.features is None:
        return {}
    seen = set(seen_rows(blended.proposal))
    rows = {item: blended.place_before(item) - 1 for item, _ in decision.chosen[:LOGGED_PLACES] if item in blended}
    items = [item for item, row in rows.items() if row in seen]
    found = encoded(vectors(blended.proposal, [rows[item] for item in items]))
    return dict(zip(items, found, strict=True))


class FeatureSample:
    """Which requests log the features of what they show: a share of them, by their id alone.

    Args:
        share: 0 (none) to 1 (all).

    >>> FeatureSample(1.0).takes("01KDWCJ2QR0000000000000000"), FeatureSample(1.0).takes("")
    (True, False)
    """

    def __init__(self, share: float) -> None:
        self._below = share * 2**32

    def takes(self, request_id: str) -> bool:
        """Whether this request is one of them; one without an id logs nothing."""
        return bool(request_id) and zlib.crc32(request_id.encode()) < self._below
