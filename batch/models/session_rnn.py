"""The session RNN: a GRU over what the user took."""

from __future__ import annotations

from dataclasses import dataclass

from batch.models.recurrent_model import RecurrentModel
from batch.models.recurrent_network import GRU, CellKind


@dataclass(frozen=True, kw_only=True)
class SessionRnn(RecurrentModel):
    """GRU4Rec (Hidasi et al., ICLR 2016) with cross-entropy and the time between events as input.

    Its steps wait for each other, unlike those of a scan: so it is smaller than the linear recurrence and sees each place once.
    """

    name = "session_rnn"
    hidden: int = 64
    stride: int = 50
    batch: int = 32
    rate: float = 6e-3
    patience: int = 3

    @property
    def cell(self) -> CellKind:
        """See `RecurrentModel`."""
        return GRU
