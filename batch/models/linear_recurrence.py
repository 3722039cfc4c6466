"""The session RNN with a recurrence that is linear in its state: trained by a scan, served by one step like any other."""

from __future__ import annotations

from dataclasses import dataclass

from batch.models.recurrent_model import RecurrentModel
from batch.models.recurrent_network import MIN_GRU, CellKind


@dataclass(frozen=True, kw_only=True)
class LinearRecurrence(RecurrentModel):
    """minGRU (Feng et al., 2024): h' = (1 - z) h + z (W x + b), z = sigmoid(V x + c); a learnt, item-wise moving average."""

    name = "linear_recurrence"

    @property
    def cell(self) -> CellKind:
        """See `RecurrentModel`."""
        return MIN_GRU
