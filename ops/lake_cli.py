"""The commands `freshet lake ...`: parse, read the settings, call one function each."""

# ruff: noqa: PLC0415 - imports inside the commands, as in ops.cli: `freshet --help` must load nothing heavy.

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.command_settings import settings_of, with_kafka

if TYPE_CHECKING:
    from batch.lake.lake import Lake
    from batch.lake.syncing import SyncReport
    from schemas.settings import Settings

lake_app = typer.Typer(
    no_args_is_help=True,
    help="The event lake: Kafka's log as Parquet files, each event once.\n\nExample: `freshet lake sync --lake /srv/lake`",
)

LakePlace = Annotated[
    str | None,
    typer.Option(
        "--lake", metavar="PLACE", help="Folder, or URL that fsspec knows (s3://bucket/lake); ~/.freshet/lakes/NAME otherwise."
    ),
]
Name = Annotated[str, typer.Option(help="Name of the local stack; several can stand side by side.")]
Wait = Annotated[float, typer.Option(min=0, help="Wait so many seconds for another sync or compaction of this lake to end.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; all else goes to stderr.")]


@lake_app.command()
def sync(lake: LakePlace = None, name: Name = "default", wait: Wait = 600.0, json_output: Json = False) -> None:
    """Bring the lake to where Kafka's log ends now; may be killed and run again at any moment.

    Example: `freshet lake sync --lake /srv/lake`
    """
    settings = with_kafka(name)
    place, begun = _lake(lake, settings, name), time.monotonic()
    report = sync_lake(place, settings, wait)
    totals: dict[str, Any] = {what: sum(getattr(topic, what) for topic in report.values()) for what in _SUMMED}
    totals["seconds"] = round(time.monotonic() - begun, 2)
    _show({"lake": place.url, **totals}, report, json_output)


@lake_app.command()
def compact(
    lake: LakePlace = None,
    name: Name = "default",
    grace_hours: Annotated[
        float, typer.Option(min=0, help="Keep replaced files so long for those who are still reading them.")
    ] = 24.0,
    wait: Wait = 600.0,
    json_output: Json = False,
) -> None:
    """Make many small files of one topic, day and partition one; may be killed and run again at any moment.

    Example: `freshet lake compact --lake /srv/lake`
    """
    from batch.lake.compacting import compact as merge
    from ops import terminal
    from schemas.horizons import HOUR_MS

    place, begun = _existing(lake, settings_of(), name), time.monotonic()
    with place.locked(wait, terminal.say), terminal.progress_bar("groups of files") as tick:
        report = merge(place, _now_ms(), grace_ms=int(grace_hours * HOUR_MS), tick=tick)
    facts = {"lake": place.url, **report._asdict(), "seconds": round(time.monotonic() - begun, 2)}
    (terminal.print_json if json_output else terminal.print_facts)(facts)


@lake_app.command()
def status(lake: LakePlace = None, name: Name = "default", json_output: Json = False) -> None:
    """Show what is in the lake, topic by topic.

    Example: `freshet lake status --json`
    """
    from batch.lake.status import status_of

    place = _existing(lake, settings_of(), name)
    _show({"lake": place.url}, status_of(place.load()), json_output)


def sync_lake(lake: Lake, settings: Settings, wait: float) -> SyncReport:
    """Bring a lake to where Kafka's log ends now, with a progress bar; see `batch.lake.syncing`."""
    from batch.lake.kafka_log import KafkaLog
    from batch.lake.syncing import sync as copy
    from ops import terminal
    from ops.kafka_address import check_reachable, client_config, required_servers
    from schemas.events import Limits

    servers = required_servers(settings)
    check_reachable(servers)
    limits = Limits(settings.max_event_bytes, settings.max_future_seconds * 1000)
    with KafkaLog(client_config(servers)) as log, lake.locked(wait, terminal.say), terminal.progress_bar("offsets") as tick:
        return copy(lake, log, _now_ms(), limits, terminal.say, tick)


_SUMMED = ("events", "invalid", "lost", "files")


def _show(facts: dict[str, Any], by_topic: Any, json_output: bool) -> None:
    from ops import terminal

    if json_output:
        terminal.print_json({**facts, "topics": {topic: row._asdict() for topic, row in by_topic.items()}})
        return
    terminal.print_facts(facts)
    columns = [field for field in next(iter(by_topic.values()))._fields if field != "ends"]
    rows = [(topic, *(getattr(row, field) for field in columns)) for topic, row in by_topic.items()]
    terminal.print_table(("topic", *(field.replace("_", " ") for field in columns)), rows)


def _lake(place: str | None, settings: Settings, name: str) -> Lake:
    from batch.lake.lake import open_lake

    return open_lake(place or str(settings.home / "lakes" / name))


def _existing(place: str | None, settings: Settings, name: str) -> Lake:
    """A lake that was synced before.

    Raises:
        InvalidInput: there is nothing.
    """
    from schemas.errors import InvalidInput

    found = _lake(place, settings, name)
    if not found.load().progress:
        raise InvalidInput(f"no lake at {found.url}: fill one with `freshet lake sync --lake {found.url}`")
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
