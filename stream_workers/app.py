"""The worker process: a Faust app around the pipelines."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import faust
import uvloop
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.types import TP

from feature_store.catalogue import Catalogue
from feature_store.catalogue_follower import CatalogueFollower
from feature_store.redis_store import RedisStore
from feature_store.version_follower import VersionFollower
from schemas.errors import InvalidSettings, KafkaUnavailable, LayoutMismatch
from schemas.settings import Settings
from schemas.topics import ITEM_STAGE_TOPICS, USER_STAGE_TOPICS, declared_topics
from stream_workers.compiling import compile_models_apart
from stream_workers.handlers.learning_stage import LearningStage
from stream_workers.handlers.settings import ModelSettings
from stream_workers.layout import check_layout
from stream_workers.learner import Learner
from stream_workers.learner_feed import new_consumer
from stream_workers.learner_sources import LearnerSources
from stream_workers.models.deep.session_model import SessionModel, session_model
from stream_workers.models.online.bank import ModelBank
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.settings import BankSettings
from stream_workers.runtime import Runtime
from stream_workers.services import Services, SignalProducer
from stream_workers.shutdown import WorkerProcess, within
from stream_workers.vital_signs import VitalSigns
from stream_workers.warm_up import compile_kernels

log = logging.getLogger(__name__)
_CATALOGUE_SECONDS: Final = 30.0
_VERSIONS_SECONDS: Final = 1.0
_FETCH_RECORDS: Final = 4000
_DRAIN_SECONDS: Final = 6.0  # of a stop: a pipeline takes 5 s at most for its queue
_PART_SECONDS: Final = 2.0  # of a stop: everything else
_NICENESS: Final = 5  # where both share a machine: somebody waits for each answer of the API, nobody for the worker


class Worker:
    """Builds the Faust app of one worker and runs it until a signal stops it.

    Args:
        settings: with `kafka` and `redis` filled in.
        numbers: of the online models.
    """

    def __init__(self, settings: Settings, numbers: BankSettings) -> None:
        if settings.kafka is None or settings.redis is None:
            raise InvalidSettings("FRESHET_KAFKA and FRESHET_REDIS must be known to start a worker")
        self._settings = settings
        catalogue = Catalogue(keep_raw=False)
        self._follower = CatalogueFollower(settings.kafka, catalogue)
        self._producer = SignalProducer(settings.kafka)
        self._scratch = tempfile.TemporaryDirectory(prefix="freshet-worker-")  # Faust insists on a folder; it stays empty
        self.app = _new_app(settings, settings.kafka, self._scratch.name)
        self.services = Services(
            settings=settings,
            models=ModelSettings.from_settings(settings),
            store=RedisStore(settings.redis),
            producer=self._producer,
            catalogue=catalogue,
            reach_catalogue=self._follower.reach,
            rewind=self._rewind,
            session_model=lambda: self._sessions.current,
        )
        self._sessions = VersionFollower(settings.models, settings.session_models, session_model, _the_one)
        self._numbers = numbers
        self._compiling: asyncio.Task[None] | None = None
        self.runtime = Runtime(self.services, self._new_learner())
        self.app.freshet_runtime = self.runtime
        self._signs = VitalSigns(f"{socket.gethostname()}:{os.getpid()}", self.app, self.services, self.runtime, self._sessions)
        self._wire()

    def _new_learner(self) -> Learner:
        log = partial(new_consumer, self._settings.kafka or "")
        return Learner(self.services, self._new_learning_stage, origin_of(self._numbers), log, self._models_compiled)

    async def _models_compiled(self) -> None:
        if self._compiling is None or self._compiling.done():  # done is cheap to do again, and failed worth another try
            self._compiling = asyncio.create_task(compile_models_apart(self._numbers), name="compile-models")
        await asyncio.shield(self._compiling)

    def _new_learning_stage(self) -> LearningStage:
        settings = self._settings
        sources = LearnerSources(settings.models, settings.batch_models)
        return LearningStage(ModelBank(self._numbers), settings.scoreboard_sample, self._numbers.repeats, sources.now)

    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """The event loops of a running worker: its own and the consumer thread's."""
        return [self.app.loop, self.app.consumer.thread_loop]

    async def _rewind(self, positions: Any) -> Any:
        return await self.app.consumer.rewind({TP(*tp): offset for tp, offset in positions.items()})

    def _wire(self) -> None:
        app, runtime = self.app, self.runtime
        topic = app.topic(*USER_STAGE_TOPICS, *ITEM_STAGE_TOPICS, key_serializer="raw", value_serializer="raw")

        @app.agent(topic, name="records")
        async def records(stream: Any) -> None:
            """Hand each list to the pipeline of its partition; the pipeline's commit is the acknowledgement."""
            async for event in stream.events():
                await runtime.offer(TP(event.message.topic, event.message.partition), event.message.value)

        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_before_shutdown.connect(self._on_shutdown)

        @app.task
        async def vital_signs() -> None:
            await self._signs.run()

        @app.task
        async def session_versions() -> None:
            while self._settings.session_models:
                await asyncio.to_thread(self._sessions.refresh)
                await asyncio.sleep(_VERSIONS_SECONDS)

    async def _on_revoked(self, app: Any, revoked: Any, **_: Any) -> None:
        await self.runtime.close()

    async def _on_shutdown(self, app: Any, **_: Any) -> None:
        await within(_PART_SECONDS, "heartbeat", self._signs.stop())
        await within(_DRAIN_SECONDS, "pipelines", self.runtime.stop())
        if self._compiling is not None:
            self._compiling.cancel()
        # Nobody waits any more for what the producer has not sent: it belongs to batches that are not committed, and comes again.
        await asyncio.gather(
            within(_PART_SECONDS, "catalogue", self._follower.stop()),
            within(_PART_SECONDS, "producer", self._producer.stop()),
            within(_PART_SECONDS, "feature store", self.services.store.close()),
        )

    async def prepare(self) -> None:
        """Check servers and layout, compile, load the catalogue.

        Raises:
            KafkaUnavailable, StoreUnavailable: a server does not answer.
            LayoutMismatch: topics or stored data have another partition count.
        """
        await check_topics(self._settings)
        await check_layout(self.services.store, self._settings)
        if self._settings.learner:
            self._compiling = asyncio.create_task(compile_models_apart(self._numbers), name="compile-models")
        compile_kernels(self.services.models)
        self._sessions.refresh()
        await self._producer.start()
        await self._follower.start()
        try:
            await asyncio.wait_for(self._follower.caught_up.wait(), _CATALOGUE_SECONDS)
        except TimeoutError:
            log.warning("the catalogue is not complete after %.0f s; going on without the rest of it", _CATALOGUE_SECONDS)


def _the_one(models: Sequence[SessionModel]) -> SessionModel | None:
    """Of at most one."""
    return next(iter(models), None)


def _new_app(settings: Settings, kafka: str, folder: str) -> faust.App:
    """The app without its agent; every fetched list of records is one message."""
    return faust.App(
        settings.group,
        datadir=folder,
        broker=f"batching://{kafka.replace(',', ';')}",
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.partitions,
        broker_max_poll_records=_FETCH_RECORDS,
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_heartbeat_interval=settings.session_timeout_ms / 5000,
        broker_request_timeout=30.0,
        broker_commit_interval=1.0,
        stream_buffer_maxsize=16,  # messages, each a whole list of records
        stream_wait_empty=False,
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
    )


async def check_topics(settings: Settings) -> None:
    """Every topic exists with the right partition count.

    Raises:
        KafkaUnavailable: Kafka does not answer, or a topic is missing.
        LayoutMismatch: another partition count.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka, request_timeout_ms=10_000)
    try:
        await admin.start()
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    except (KafkaError, OSError) as error:
        raise KafkaUnavailable(f"Kafka {settings.kafka}: {type(error).__name__}: {error}") from error
    finally:
        await admin.close()
    wanted = {spec.name: spec.partitions for spec in declared_topics(settings)}
    if missing := sorted(wanted.keys() - found.keys()):
        raise KafkaUnavailable(f"Kafka {settings.kafka} has no topics {', '.join(missing)}; run `freshet topics`")
    if wrong := [f"{name}: {found[name]}" for name, count in wanted.items() if found[name] != count]:
        raise LayoutMismatch(f"partition counts are not FRESHET_PARTITIONS={settings.partitions}: {', '.join(wrong)}")


def run(settings: Settings, numbers: BankSettings) -> None:
    """Run one worker until SIGTERM or SIGINT; a second one ends it at once.

    Raises:
        FreshetError: it cannot start, see `Worker.prepare`.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # for the consumer's thread too
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(settings, numbers)
    loop.run_until_complete(worker.prepare())
    os.nice(_NICENESS)
    # Hundreds of thousands of long-lived small objects and hardly any cycles: full collections would cost a tenth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    # Faust fetches in a thread of its own, which needs the interpreter several times per fetch; the default of 5 ms each is an age.
    sys.setswitchinterval(0.0005)
    print(f"freshet worker {os.getpid()}: Kafka {settings.kafka}, Redis {settings.redis}", file=sys.stderr, flush=True)
    WorkerProcess(
        worker.app, worker.loops, loop=loop, loglevel="WARNING", redirect_stdouts=False, override_logging=False
    ).execute_from_commandline()
