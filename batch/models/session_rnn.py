"""The session RNN: a GRU over what the user took."""

from __future__ import annotations

from dataclasses import dataclass

from batch.models.recurrent_model import RecurrentModel
from batch.models.recurrent_network import GRU, CellKind


@dataclass(frozen=True)
class SessionRnn(RecurrentModel):
    """GRU4Rec (Hidasi et al., ICLR 2016) with cross-entropy and the time between events as input."""

    name = "session_rnn"

    @property
    def cell(self) -> CellKind:
        """See `RecurrentModel`."""
        return GRU
