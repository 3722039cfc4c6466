"""The published model that workers advance by one step per event. Pure; the files were read before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from feature_store.version_arrays import StoredVersion
from schemas.errors import InvalidInput
from stream_workers.models.deep.loading import published
from stream_workers.models.deep.recurrent import Recurrent


class SessionModel(NamedTuple):
    """One version of a recurrent model.

    Attributes:
        name: `model@version`. item_rows: item to its row among those that the model knows.
    """

    name: str
    scorer: Recurrent
    item_rows: Mapping[str, int]


def session_model(stored: StoredVersion) -> SessionModel:
    """The model of what `feature_store.model_versions.read_version` has read.

    Raises:
        InvalidInput: it is not recurrent, or its arrays do not belong together.
    """
    model = published(stored)
    if not isinstance(model.scorer, Recurrent):
        raise InvalidInput(
            f"kind {model.scorer.kind!r} has no state to advance; FRESHET_SESSION_MODEL takes a recurrent model, "
            "session_rnn or linear_recurrence, or none"
        )
    return SessionModel(model.name, model.scorer, model.item_rows)
