"""How to read a lake: what other parts of Freshet import.

`interactions` for models, `read_rows` for everything in the order of the log, `as_dataset` for tools that speak Arrow.
"""

from batch.lake.catalogue import read_catalogue
from batch.lake.interactions import Interactions, interactions
from batch.lake.lake import Lake, open_lake
from batch.lake.rows import Cut, as_dataset, ends_of, read_rows

__all__ = ["Cut", "Interactions", "Lake", "as_dataset", "ends_of", "interactions", "open_lake", "read_catalogue", "read_rows"]
