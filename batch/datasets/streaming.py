"""Parquet files that are larger than memory as a shuffled `tf.data` input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.errors import InvalidInput

Columns = dict[str, NDArray[Any]]

READ_ROWS: Final = 65_536


def record_batches(
    paths: Sequence[Path], columns: Sequence[str], rng: np.random.Generator, rows: int = READ_ROWS
) -> Iterator[pa.RecordBatch]:
    """The files' rows, `rows` at a time; files and their row groups come in an order drawn by `rng`.

    Raises:
        InvalidInput: a file cannot be read or lacks a column.
    """
    groups = [(path, group) for path in paths for group in range(_opened(path, columns).num_row_groups)]
    for at in rng.permutation(len(groups)).tolist():
        path, group = groups[at]
        with _opened(path, columns) as file:
            yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=list(columns))


def shuffled(batches: Iterator[pa.RecordBatch], size: int, buffer: int, rng: np.random.Generator) -> Iterator[Columns]:
    """The same rows in another order, `size` at a time; never more than `buffer` rows and one record batch are in memory.

    When the buffer is full, half of it, drawn at random, leaves; the rest waits for more. The last batch may be smaller.

    Raises:
        InvalidInput: a buffer smaller than a batch, or a column with nulls or of a nested type.
    """
    if not 1 <= size <= buffer:
        raise InvalidInput(f"batches of {size} from a buffer of {buffer} rows: expected 1 <= size <= buffer")
    waiting: Columns = {}
    for batch in batches:
        waiting = _appended(waiting, batch)
        while _length(waiting) >= buffer:
            waiting = _permuted(waiting, rng)
            leaving = max(size, buffer // 2 // size * size)
            yield from _portions(waiting, leaving, size)
            waiting = {name: values[leaving:] for name, values in waiting.items()}
    waiting = _permuted(waiting, rng)
    yield from _portions(waiting, _length(waiting), size)


def stream(paths: Sequence[Path], columns: Sequence[str], *, size: int, buffer: int, seed: int) -> Any:
    """A `tf.data.Dataset` of dictionaries of tensors [size], shuffled anew in each pass; the same seed gives the same passes.

    Raises:
        InvalidInput: as `record_batches` and `shuffled`, or no files.
    """
    import tensorflow as tf  # noqa: PLC0415 - who only cuts logs needs no TensorFlow

    if not paths:
        raise InvalidInput("no Parquet files to read")
    with _opened(paths[0], columns) as file:
        schema = file.schema_arrow
    signature = {
        name: tf.TensorSpec([None], tf.as_dtype(_as_numpy(name, pa.array([], schema.field(name).type)).dtype)) for name in columns
    }
    passes = iter(range(2**62))

    def one_pass() -> Iterator[Columns]:
        rng = np.random.default_rng([seed, next(passes)])
        yield from shuffled(record_batches(paths, columns, rng), size, buffer, rng)

    return tf.data.Dataset.from_generator(one_pass, output_signature=signature).prefetch(1)


def _opened(path: Path, columns: Sequence[str]) -> Any:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"{path} cannot be read as Parquet: {error}") from error
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise InvalidInput(f"{path} has no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)}")
    return file


def _appended(waiting: Columns, batch: pa.RecordBatch) -> Columns:
    arrived = {name: _as_numpy(name, batch.column(at)) for at, name in enumerate(batch.schema.names)}
    return {name: np.concatenate((waiting[name], new)) for name, new in arrived.items()} if waiting else arrived


def _as_numpy(name: str, column: pa.Array) -> NDArray[Any]:
    if column.null_count or pa.types.is_nested(column.type):
        what = f"{column.null_count} nulls" if column.null_count else f"values of type {column.type}"
        raise InvalidInput(f"column {name} has {what}; a training input needs plain values in every row")
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    values = plain.to_numpy(zero_copy_only=False)
    return np.asarray(values, object) if values.dtype.kind in "OU" else values


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values()))) if columns else 0


def _permuted(columns: Columns, rng: np.random.Generator) -> Columns:
    order = rng.permutation(_length(columns))
    return {name: values[order] for name, values in columns.items()}


def _portions(columns: Columns, end: int, size: int) -> Iterator[Columns]:
    for start in range(0, end, size):
        yield {name: values[start : min(start + size, end)] for name, values in columns.items()}
