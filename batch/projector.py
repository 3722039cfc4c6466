"""Item vectors as TensorBoard's projector reads them: `tensorboard --logdir FOLDER` shows which items lie near each other."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from batch.datasets.interactions import F32, I64, Catalogue
from schemas.errors import InvalidInput

VECTORS: Final = "vectors.tsv"
METADATA: Final = "metadata.tsv"
CONFIG: Final = "projector_config.pbtxt"


def write_projection(folder: Path, vectors: F32, catalogue: Catalogue, rows: I64) -> None:
    """Write the vectors of these items with their ids, titles, categories and years.

    Three files: the numbers, one item a line; a table with a header, its lines in the same order; the file that names both.
    The vectors' tab-separated files also load at projector.tensorflow.org.

    Args:
        folder: TensorBoard's log folder; it is made if it is missing. vectors: float32[P, d]. rows: which of the P items.

    Raises:
        InvalidInput: vectors and catalogue of different lengths, numbers that are not finite, or no item.
    """
    if len(vectors) != catalogue.size or not len(rows):
        raise InvalidInput(f"{len(rows)} of {len(vectors)} vectors for a catalogue of {catalogue.size} items")
    if not np.isfinite(vectors[rows]).all():
        raise InvalidInput("a vector has a number that is not finite")
    folder.mkdir(parents=True, exist_ok=True)
    lines = ("\t".join(f"{value:.6g}" for value in vector) for vector in vectors[rows])
    (folder / VECTORS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    table = ["item\ttitle\tcategories\tyear", *(_described(catalogue, int(row)) for row in rows)]
    (folder / METADATA).write_text("".join(f"{line}\n" for line in table), encoding="utf-8")
    (folder / CONFIG).write_text(_CONFIG_TEXT, encoding="utf-8")


_CONFIG_TEXT: Final = f"""embeddings {{
  tensor_name: "items"
  tensor_path: "{VECTORS}"
  metadata_path: "{METADATA}"
}}
"""


def _described(catalogue: Catalogue, row: int) -> str:
    year = catalogue.years[row]
    cells = (
        catalogue.ids[row], catalogue.titles[row] or catalogue.ids[row], ", ".join(catalogue.categories[row]),
        "" if np.isnan(year) else str(int(year)),
    )  # fmt: skip
    return "\t".join(" ".join(cell.split()) for cell in cells)  # tabs and line ends would break the table
