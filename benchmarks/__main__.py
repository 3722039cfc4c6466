"""Runs benchmarks and prints a table; `--json FILE` also writes the rows."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.row import Row

ALL = (
    "worker_throughput", "freshness", "recommend", "store_bytes", "online_throughput", "replay_throughput", "mf_cost",
    "model_commits", "rnn_step", "session_states", "rerank", "search", "decision_record", "own_source",
    "blend_ranker", "serve", "click_to_answer", "request_cost", "api_processes",
)  # fmt: skip


def main() -> None:
    """Run what was asked for, all of it by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ALL, []], help=f"which to run, of {', '.join(ALL)}; all by default")
    parser.add_argument("--items", type=int, help="serve: how many items there are, 100,000 unless told")
    parser.add_argument("--beside", type=Path, help="request_cost: another checkout, measured in turn with this one")
    parser.add_argument("--json", type=Path, help="file for the rows")
    arguments = parser.parse_args()
    given = {"serve": {"items": arguments.items}, "request_cost": {"beside": arguments.beside}}
    rows: list[Row] = []
    for name in arguments.names or ALL:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        options = {option: value for option, value in given.get(name, {}).items() if value is not None}
        measured = importlib.import_module(f"benchmarks.{name}").run(**options)
        print("  " + "; ".join(f"{row.name} {row.value:,.1f} {row.unit}" for row in measured), file=sys.stderr, flush=True)
        rows += measured
    table = Table(title=f"Freshet on {platform.machine()}, Python {platform.python_version()}")
    for column in ("name", "value", "unit", "baseline", "ratio", "wanted"):
        table.add_column(column, justify="right" if column in {"value", "ratio"} else "left")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.name, f"{row.value:,.1f}", row.unit, row.baseline or "", ratio, row.wanted)
    Console(width=132).print(table)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_bytes(orjson.dumps([row._asdict() for row in rows], option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    main()
