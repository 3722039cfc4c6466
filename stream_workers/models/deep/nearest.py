"""The items with the largest logits of a vector model without looking at all of them: an inverted file of near vectors.

score(j) = q . v_j + b_j is an inner product of [q; 1] and [v_j; b_j]. With one more coordinate all item vectors get the same length
(Bachrach et al., Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces, 2014), so the
largest inner product is the nearest vector, and k-means cells (Jegou, Douze & Schmid, Product quantization for nearest neighbor
search, 2011; without quantisation here) hold near vectors together. A question looks through the `probes` nearest cells. How many
that must be is measured when the index is made, on questions that stand for real ones; where even many are not enough there is no
index.
"""

from __future__ import annotations

from typing import Final, Self

import faiss
import numpy as np

from stream_workers.models.deep.scorer import F32, I64

RECALL: Final = 0.98  # of the best `_JUDGED`, that the index must have
_JUDGED: Final = 100
_WANTED: Final = 0.99  # on the sample, so that other questions have RECALL
_PROBES: Final = (4, 8, 16, 32, 64, 128)
_SLACK: Final = 1.2  # lengths that later items may have, relative to the longest now
_TRAINED_ON: Final = 64  # vectors of each cell
_ITERATIONS: Final = 8
_SEED: Final = 7


class NearestItems:
    """An index over item vectors to which items can be added. Any number of threads may ask; one adds, while nobody asks.

    Attributes:
        recall: of the best 100, on the questions it was measured with.
    """

    def __init__(self, cells: faiss.IndexIVFFlat, longest: float) -> None:
        self._cells, self._longest, self.recall = cells, longest, 0.0

    @classmethod
    def made(cls, vectors: F32, bias: F32, questions: F32) -> Self | None:
        """The index; None where it would not find what it must.

        Args:
            vectors: float32[P, d]. bias: float32[P]. questions: float32[Q, d], user vectors to measure with.
        """
        points = np.concatenate((vectors, bias[:, None]), axis=1)
        longest = float(np.sqrt(np.einsum("pd,pd->p", points, points).max(initial=0.0))) * _SLACK
        if not 0.0 < longest < np.inf:
            return None
        stretched = _of_one_length(points, longest)
        count = max(1, int(np.sqrt(len(points)) * 2))
        cells = faiss.IndexIVFFlat(faiss.IndexFlatIP(stretched.shape[1]), stretched.shape[1], count, faiss.METRIC_INNER_PRODUCT)
        cells.cp.niter, cells.cp.seed = _ITERATIONS, _SEED
        rng = np.random.default_rng(_SEED)
        cells.train(stretched[rng.permutation(len(stretched))[: _TRAINED_ON * count]])
        cells.add(stretched)
        found = cls(cells, longest)
        return found if found._measured(vectors, bias, questions) else None

    def __len__(self) -> int:
        return int(self._cells.ntotal)

    @property
    def probes(self) -> int:
        """Cells that a question looks through."""
        return int(self._cells.nprobe)

    def add(self, vectors: F32, bias: F32) -> None:
        """More items; their rows follow those that are there.

        Raises:
            ValueError: one is so long that the index would have to be made anew.
        """
        points = np.concatenate((vectors, bias[:, None]), axis=1)
        if np.einsum("pd,pd->p", points, points).max(initial=0.0) > self._longest**2:
            raise ValueError("a vector is longer than the index has room for; make it anew")
        self._cells.add(_of_one_length(points, self._longest))

    def search(self, question: F32, k: int) -> I64:
        """Rows of the (nearly) k items with the largest logits, best first: int64[<= k].

        Args:
            question: float32[d], a user vector.
        """
        point = np.concatenate((question, np.array([1.0, 0.0], np.float32))).astype(np.float32)[None]
        _, rows = self._cells.search(point, k)
        found: I64 = rows[0][rows[0] >= 0]
        return found

    def _measured(self, vectors: F32, bias: F32, questions: F32) -> bool:
        """Choose the fewest cells that are enough on these questions; False: none are."""
        k = min(_JUDGED, len(bias))
        exact = [set(np.argpartition(-(vectors @ one + bias), k - 1)[:k].tolist()) for one in questions]
        for self._cells.nprobe in _PROBES:
            found = [len(best.intersection(self.search(one, k).tolist())) for best, one in zip(exact, questions, strict=True)]
            self.recall = sum(found) / (k * max(1, len(questions)))
            if self.recall >= _WANTED:
                return True
        return False


def _of_one_length(points: F32, longest: float) -> F32:
    """float32[P, d + 1]: the points, and a coordinate that makes all of them `longest`."""
    squares = np.einsum("pd,pd->p", points, points)
    rest = np.sqrt(np.maximum(longest * longest - squares, 0.0))
    return np.ascontiguousarray(np.concatenate((points, rest[:, None]), axis=1), np.float32)
