"""What TensorBoard shows of a training: curves, the graph, and the item vectors with titles and categories."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorboard.plugins import projector

from batch.datasets.interactions import Catalogue, InteractionLog
from batch.models.interface import Epoch
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
        np.savetxt(self._folder / "vectors.tsv", found[shown], delimiter="\t", fmt="%.5g")
        (self._folder / "items.tsv").write_text(_described(self._train.catalogue, shown), encoding="utf-8")
        asked = projector.ProjectorConfig()
        asked.embeddings.add(tensor_name="items", tensor_path="vectors.tsv", metadata_path="items.tsv")
        projector.visualize_embeddings(str(self._folder), asked)


def _vectors(scorer: Scorer, items: int) -> NDArray[Any] | None:
    arrays = scorer.arrays().values()
    fitting = (array for array in arrays if array.dtype == np.float32 and array.ndim == 2 and len(array) == items > array.shape[1])
    return next(fitting, None)


def _described(catalogue: Catalogue, shown: NDArray[np.integer]) -> str:
    """Lines of id, title and categories under a header, without tabs or line ends of their own."""
    rows = [("id", "title", "categories")]
    rows += [(catalogue.ids[at], catalogue.titles[at], ", ".join(catalogue.categories[at])) for at in shown.tolist()]
    return "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)
