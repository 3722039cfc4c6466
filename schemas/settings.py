"""Frozen, typed settings of every process. Built once, in the entry point, from the environment; never read inside pure code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from schemas.errors import InvalidSettings

PREFIX = "FRESHET_"
_SLOWEST = 0.001  # calls a second; microseconds of slower ones are beyond what Lua counts exactly
_TOKEN = re.compile(r"[a-z][a-z0-9_]*=[!-:<-~]+")
_ORIGIN = re.compile(r"https?://[a-z0-9._:\[\]-]+", re.IGNORECASE)


class Settings(BaseModel):
    """Every setting, its default and its bounds. `FRESHET_<NAME>` in the environment overrides a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kafka: str | None = Field(None, description="Kafka bootstrap servers, host:port[,host:port]; unset: the local stack's")
    redis: str | None = Field(None, description="Redis URL, redis://host:port/db; unset: the local stack's")
    group: str = Field("freshet", description="Kafka consumer group of the workers")
    partitions: int = Field(2, ge=1, le=1024, description="partitions of every topic: as many workers can share the work")
    replication: int = Field(1, ge=1, le=9, description="replication factor of new topics")
    retention_days: int = Field(-1, ge=-1, description="how long event topics are kept; -1: forever (the log rebuilds everything)")

    history_length: int = Field(100, ge=1, le=1000, description="newest events kept per user")
    neighbours: int = Field(50, ge=1, le=500, description="co-visited items kept per item")
    dedupe_hours: int = Field(25, ge=1, le=240, description="how long an event_id stays known")
    max_event_bytes: int = Field(64 * 1024, ge=1024, description="larger events go to dead-letters")
    max_future_seconds: int = Field(300, ge=0, description="events further ahead of the worker's clock are refused")
    user_ttl_days: int = Field(400, ge=0, description="users without events are forgotten after this; 0: never")
    cached_users: int = Field(20_000, ge=100, description="users kept in a worker's memory per partition")
    cached_items: int = Field(100_000, ge=100, description="items kept in a worker's memory per partition")
    linger_ms: int = Field(5, ge=0, le=1000, description="a worker waits this long for more events before it applies a batch")
    item_linger_ms: int = Field(80, ge=0, le=5000, description="the same for the item stage, which coalesces writes to hot items")
    session_timeout_ms: int = Field(6000, ge=1000, le=300_000, description="a worker silent for this long loses its partitions")
    batch_events: int = Field(4000, ge=1, le=100_000, description="most events in one batch of one partition")
    learner: bool = Field(True, description="the owner of user partition 0 trains the online models; false on all workers: none do")
    scoreboard_sample: float = Field(
        0.02, ge=0, le=1, description="share of events that every model ranks before it learns from them"
    )
    scoreboard_repeats: bool = Field(False, description="the scoreboard also ranks items that the user took before (mode B)")
    model_settings: Path | None = Field(None, description="file with the numbers of the online models, as `freshet tune` writes it")

    models: Path | None = Field(
        None, description="folder of the published batch models, the same for worker, API and batch; unset: the local stack's"
    )
    batch_sources: str = Field(
        "item2vec,two_tower", description="published batch models that the online blend takes candidates from, at most two"
    )
    session_model: str = Field(
        "session_rnn", description="published recurrent model that workers advance by one step per event; none: they do not"
    )

    ranker: str = Field("blend_ranker", description="published ranker that orders the blend's best; none: the blend's order stays")
    ranked_candidates: int = Field(200, ge=1, le=640, description="how many of the blend's best it scores")
    feature_sample: float = Field(
        0.1, ge=0, le=1, description="share of requests whose impression carries the features of what was shown, to train it with"
    )

    surfaces: Path | None = Field(None, description="YAML file of the surfaces (docs/serving.md); unset: all are as built in")
    source_hosts: str = Field(
        "", description="hosts, or host:port, whose candidate sources the surfaces file may name, separated by commas; empty: none"
    )
    source_tokens: SecretStr | None = Field(
        None, description="tokens that such sources are sent, NAME=TOKEN with ; between them (docs/serving.md)"
    )
    api_host: str = Field("127.0.0.1", description="address the API binds to")
    api_port: int = Field(8000, ge=0, le=65535, description="port of the API; 0: any free port")
    api_processes: int = Field(
        1, ge=1, le=64, description="API processes on this machine; more than one share their socket and the models (Linux)"
    )
    api_keys: SecretStr | None = Field(
        None, description="keys of the API, KEY=ROLE,ROLE with ; between them (docs/access.md); unset, also the file: it is open"
    )
    api_keys_file: Path | None = Field(None, description="file with more of such keys, one a line")
    rate_limit: float = Field(
        0, ge=0, le=100_000, description="calls a second of one key (without keys: of one address) in the long run; 0: no limit"
    )
    rate_burst: int = Field(50, ge=1, le=1_000_000, description="calls of one key at once, where there is a limit")
    concurrency: int = Field(
        8, ge=1, le=10_000, description="answers that an API process works on at the same time; others wait (docs/serving.md)"
    )
    queue_ms: int = Field(
        500, ge=0, le=60_000, description="requests wait this long for that at most, then they get 503; 0: however long it takes"
    )
    cors_origins: str = Field(
        "", description="origins whose pages may call the API, https://shop.example, separated by commas; empty: none"
    )
    store_timeout_ms: int = Field(250, ge=1, description="the API answers from a lower step when Redis takes longer")
    decision_log_mb: int = Field(64, ge=0, le=65_536, description="room in Redis for what requests decided; 0: it is not kept")
    decision_log_hours: float = Field(24.0, gt=0, le=24 * 400, description="how long it is kept at most")
    ack_timeout_ms: int = Field(5000, ge=100, description="POST /v1/events answers 503 when Kafka takes longer")

    home: Path = Field(Path("~/.freshet"), description="folder of the local stacks and of the cached Kafka")
    data: Path | None = Field(None, description="folder with the public data sets (movietweetings/, ...)")

    @property
    def batch_models(self) -> tuple[str, ...]:
        """The names in `batch_sources`."""
        return tuple(filter(None, map(str.strip, self.batch_sources.split(","))))

    @property
    def session_models(self) -> tuple[str, ...]:
        """The name in `session_model`, if it is one."""
        return _named(self.session_model)

    @property
    def rankers(self) -> tuple[str, ...]:
        """The name in `ranker`, if it is one."""
        return _named(self.ranker)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins in `cors_origins`."""
        return tuple(filter(None, map(str.strip, self.cors_origins.lower().split(","))))

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """The hosts in `source_hosts`."""
        return tuple(filter(None, map(str.strip, self.source_hosts.lower().split(","))))

    @property
    def tokens_by_source(self) -> dict[str, str]:
        """The tokens in `source_tokens` by the name of the source."""
        text = self.source_tokens.get_secret_value() if self.source_tokens else ""
        entries = (entry.strip().partition("=") for entry in text.split(";") if entry.strip())
        return {name: token for name, _, token in entries}

    @field_validator("source_tokens")
    @classmethod
    def _named_tokens(cls, value: SecretStr | None) -> SecretStr | None:
        entries = value.get_secret_value().split(";") if value else ()
        if not all(_TOKEN.fullmatch(entry.strip()) for entry in entries if entry.strip()):
            raise ValueError("NAME=TOKEN, with ; between them; a token has no spaces")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, value: str) -> str:
        if not all(_ORIGIN.fullmatch(origin) for origin in map(str.strip, value.split(",")) if origin):
            raise ValueError("exact origins, such as https://shop.example or http://localhost:3000, without a path or *")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _not_slower_than(cls, value: float) -> float:
        if 0 < value < _SLOWEST:
            raise ValueError(f"0 or at least {_SLOWEST}")
        return value

    @field_validator("batch_sources")
    @classmethod
    def _at_most_two(cls, value: str) -> str:
        if value.count(",") > 1:
            raise ValueError("at most two names, separated by a comma")
        return value

    def secrets(self) -> dict[str, str]:
        """The variables of what is secret and set, to be handed on in an environment and nowhere else."""
        values = {name: getattr(self, name) for name in _SECRET_NAMES}
        return {PREFIX + name.upper(): value.get_secret_value() for name, value in values.items() if value is not None}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **overrides: Any) -> Settings:
        """Read `FRESHET_*` variables; explicit overrides (command-line flags) that are not None win.

        Raises:
            InvalidSettings: names the variable, its value and what is expected.

        >>> Settings.from_environment({"FRESHET_PARTITIONS": "8"}).partitions
        8
        """
        given: dict[str, Any] = {
            name: environment[PREFIX + name.upper()]
            for name in cls.model_fields
            if environment.get(PREFIX + name.upper(), "") != ""
        }
        given.update({name: value for name, value in overrides.items() if value is not None})
        try:
            settings = cls(**given)
        except ValidationError as error:
            lines = [f"{PREFIX}{'.'.join(map(str, e['loc'])).upper()}={_shown(e)}: {e['msg']}" for e in error.errors()]
            raise InvalidSettings("; ".join(lines)) from error
        paths = {name: getattr(settings, name) for name in ("home", "models", "model_settings", "surfaces", "api_keys_file")}
        return settings.model_copy(update={name: path.expanduser().absolute() for name, path in paths.items() if path is not None})


def _named(text: str) -> tuple[str, ...]:
    """A name that may be `none`."""
    name = text.strip()
    return (name,) if name not in {"", "none"} else ()


def _shown(fault: Mapping[str, Any]) -> str:
    """The value that is wrong, unless it is a secret."""
    return "***" if fault["loc"][0] in _SECRET_NAMES else repr(fault["input"])


_SECRET_NAMES = tuple(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)
