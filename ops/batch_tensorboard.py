"""What TensorBoard shows of a training: curves, the graph, and the item vectors with titles and categories."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from batch.datasets.interactions import InteractionLog
from batch.models.interface import Epoch
from batch.projector import write_projection
from stream_workers.models.deep.scorer import Scorer

_MOST_SHOWN: Final = 5000


class Traces:
    """The folder of one model; a context in which it is trained.

    Args:
        train: its catalogue names the vectors; the 5,000 items taken most often are shown.
    """

    def __init__(self, folder: Path, train: InteractionLog) -> None:
        self._folder, self._train = folder, train
        self._writer: Any = tf.summary.create_file_writer(str(folder))

    def __enter__(self) -> Self:
        tf.summary.trace_on(graph=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        tf.summary.trace_off()
        self._writer.close()

    def epoch(self, number: int, epoch: Epoch) -> None:
        """The figures of an epoch; with the first one the graph of what was compiled for it."""
        with self._writer.as_default(step=number):
            tf.summary.scalar("loss", epoch.loss)
            tf.summary.scalar("validation", epoch.validation)
            if number == 0:
                tf.summary.trace_export("graph")
        self._writer.flush()

    def embeddings(self, scorer: Scorer) -> None:
        """The first array with one vector per item, for the projector; nothing where a model has none."""
        found = _vectors(scorer, self._train.catalogue.size)
        if found is None:
            return
        shown = np.sort(np.argsort(-self._train.item_counts, kind="stable")[:_MOST_SHOWN])
        write_projection(self._folder, found, self._train.catalogue, shown)


def _vectors(scorer: Scorer, items: int) -> NDArray[Any] | None:
    arrays = scorer.arrays().values()
    fitting = (array for array in arrays if array.dtype == np.float32 and array.ndim == 2 and len(array) == items > array.shape[1])
    return next(fitting, None)
