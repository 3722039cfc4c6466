"""The item tower: an item's vector from its content and, where it is known, from its id."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from batch.datasets.interactions import I64
from batch.models.content import YEAR_BUCKETS, Content, mean_of_known
from batch.models.interface import Entries
from batch.models.warm_start import Speaks


class ItemTower(keras.layers.Layer):  # type: ignore[misc]
    """Rows of items [n] -> vectors [n, d].

        content = W2 relu(W1 [mean of word vectors; mean of label vectors; vector of the year])
        vector  = content + id vector

    In training the whole id vector of an item is left out with probability `dropout` (as in DropoutNet, Volkovs et al., NeurIPS
    2017), so that the content learns to stand alone; an item that nobody took in the log has no id vector at all.

    Args:
        content: of all P items. known: bool[P], items that the log speaks of.
        width: d. dropout: share of id vectors that are left out.
    """

    def __init__(self, content: Content, known: NDArray[np.bool_], *, width: int, dropout: float, seed: int) -> None:
        super().__init__(name="item_tower")
        self._names = content.word_names, content.label_names
        self._columns = [keras.ops.convert_to_tensor(rows) for rows in (content.words, content.labels, content.years)]
        self._known = keras.ops.convert_to_tensor(known.astype(np.float32))
        self.words = keras.layers.Embedding(len(content.word_names), width, name="words")
        self.labels = keras.layers.Embedding(len(content.label_names), width, name="labels")
        self.years = keras.layers.Embedding(YEAR_BUCKETS, width, name="years")
        self.ids = keras.layers.Embedding(len(known), width, name="ids")
        self.drop = keras.layers.Dropout(dropout, noise_shape=(None, 1), seed=seed)
        self.hidden = keras.layers.Dense(2 * width, activation="relu", name="hidden")
        self.out = keras.layers.Dense(width, name="out")

    def call(self, rows: Any, training: bool = False, columns: Any = None) -> Any:
        """See the class; `columns`: other words, labels and years than the items have."""
        words, labels, years = (keras.ops.take(column, rows, axis=0) for column in columns or self._columns)
        parts = [mean_of_known(self.words, words), mean_of_known(self.labels, labels), self.years(years)]
        content = self.out(self.hidden(keras.ops.concatenate(parts, axis=-1)))
        known = keras.ops.take(self._known, rows, axis=0)[:, None]
        return content + self.drop(self.ids(rows) * known, training=training)

    def columns_shuffled(self, which: int, order: I64) -> list[Any]:
        """Words (0), labels (1) and years (2) of all items, those of one kind in another order."""
        return [keras.ops.take(column, order, axis=0) if at == which else column for at, column in enumerate(self._columns)]

    def speaks(self, ids: tuple[str, ...]) -> Speaks:
        """Which weights speak of the items with these ids, of words and of labels; see `warm_start`."""
        words, labels = (Entries(0, names) for names in self._names)
        named = ((self.words, words), (self.labels, labels), (self.ids, Entries(0, ids)))
        return [(layer.embeddings, entries) for layer, entries in named]
