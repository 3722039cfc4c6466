"""One API of several processes: they accept on one socket, read one copy of the models, and are kept running.

freshet api          imports everything, binds, forks the others and replaces whoever dies; takes no requests itself
+-- follower         fetches what the learner commits and writes it as versions into memory that all share
+-- api-1 ... api-N  the API as it is alone, but for its models, which are views of that memory
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Final

import uvicorn

from feature_store.redis_store import RedisStore
from feature_store.shared_slots import Slots
from schemas.errors import StoreUnavailable
from schemas.settings import Settings
from serving import content_source
from serving.app import announce, bound, create_app, prepare, server_config
from serving.draining import DrainingServer
from serving.followed_model import FollowedModel
from serving.guarded_store import GuardedStore
from serving.learner_pages import LearnerPages
from serving.process_group import Body, ProcessGroup
from serving.seats import Board, Seat, State
from serving.services import DEFAULTS, connect
from serving.shared_counts import claimed_folder, share_counts
from serving.snapshot_writer import SnapshotWriter
from stream_workers.models.online.origin import origin_of
from stream_workers.models.online.settings import BankSettings
from stream_workers.models.scoring_bank import ScoringBank

_FOLLOWER: Final = "models"
_FOLLOW_SECONDS: Final = 0.25


def run_processes(settings: Settings, numbers: BankSettings = DEFAULTS, compiled: bool = False) -> None:
    """Serve with `settings.api_processes` processes until SIGTERM or SIGINT; requests that have begun are answered first.

    Args:
        settings: of all of them.
        numbers: of the online models; the learner's.
        compiled: whether the kernels can be had without compiling: then they are loaded once, here, for everybody.

    Raises:
        InvalidSettings: something is wrong with them, or this is not Linux.
        OSError: the address cannot be bound.
    """
    slots, board = Slots(), Board(settings.api_processes)
    prepare()
    listening = bound(settings.api_host, settings.api_port)
    # Made once here and thrown away: what is wrong is said at once and by one, and what is loaded on the way is there for all.
    access = create_app(settings, numbers=numbers).state.access
    if compiled:
        _load_kernels(numbers)
    announce(settings, listening.getsockname()[1])
    access.announce(settings.api_host)
    folder = claimed_folder()
    seats = [Seat(number, slots, board, folder) for number in range(settings.api_processes)]
    group = ProcessGroup(_bodies(settings, numbers, listening, seats), partial(_note_death, board))
    gc.collect()
    gc.freeze()  # what is here now is shared with all processes for as long as nobody's collector touches it
    try:
        group.run(stopping=listening.close)
    finally:
        listening.close()
        shutil.rmtree(folder, ignore_errors=True)


def _note_death(board: Board, name: str) -> None:
    if name != _FOLLOWER:
        board.note(int(name.rpartition("-")[2]) - 1, State.ABSENT)


def _load_kernels(numbers: BankSettings) -> None:
    FollowedModel(ScoringBank(numbers), 0).warm_up()
    content_source.warm_up()


def _bodies(settings: Settings, numbers: BankSettings, listening: socket.socket, seats: list[Seat]) -> dict[str, Body]:
    """What each process does. Without a store there is nothing to follow."""
    bodies: dict[str, Body] = {}
    if settings.redis is not None:
        bodies[_FOLLOWER] = partial(_follow, settings, numbers, listening, seats[0].slots)
    return bodies | {f"api-{seat.number + 1}": partial(_serve, settings, numbers, listening, seat) for seat in seats}


def _serve(settings: Settings, numbers: BankSettings, listening: socket.socket, seat: Seat, lifeline: int) -> None:
    """One of the processes that answer."""
    share_counts(seat.counts, seat.number)
    services = connect(settings, numbers, seat)
    server = _Server(server_config(create_app(settings, services, numbers)), lambda: seat.note(services.works), lifeline)
    server.run(sockets=[listening])


class _Server(DrainingServer):
    """A server that ends when it is told to, or when the process that forked it is gone.

    Args:
        beat: is called ten times a second while it takes requests.
        lifeline: at its end when that process is gone.
    """

    def __init__(self, config: uvicorn.Config, beat: Callable[[], None], lifeline: int) -> None:
        super().__init__(config)
        self._beat = beat
        self._lifeline = lifeline

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        asyncio.get_running_loop().add_reader(self._lifeline, self._left_alone)
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's."""
        self._beat()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain. Ctrl-C reaches every process of a terminal, and then comes the word of the first one: twice is not force."""
        self.should_exit = True

    def _left_alone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self.should_exit = True


def _follow(settings: Settings, numbers: BankSettings, listening: socket.socket, slots: Slots, lifeline: int) -> None:
    """The process that follows the learner. It can be killed at any moment: see `feature_store/shared_slots.py`."""
    listening.close()  # or it would still take in connections when those that answer them have stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    # Whoever has to compile, it is done here, once, before anybody has a version that needs it.
    FollowedModel(ScoringBank(numbers), 0).warm_up()
    asyncio.run(_follow_learner(settings.redis or "", settings.store_timeout_ms / 1000, numbers, slots))


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(0)


async def _follow_learner(redis: str, patience: float, numbers: BankSettings, slots: Slots) -> None:
    store = GuardedStore(RedisStore(redis, patience), patience)
    pages = LearnerPages(store, origin_of(numbers), SnapshotWriter(slots).write)
    while True:
        with suppress(StoreUnavailable):
            await pages.refresh()
        slots.faults = pages.faults
        await asyncio.sleep(_FOLLOW_SECONDS)
