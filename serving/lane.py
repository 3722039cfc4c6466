"""How many requests are worked on at the same time, and how long others may wait for their turn.

A queue that never empties helps nobody: it makes everybody wait and serves no more of them. So a request may wait long as long as
the queue has been empty a moment ago (a burst, which will be over soon), and only a little once it has not (overload):

    limit = standing   if somebody has been waiting for all of the last `patience` seconds
            patience   otherwise

K. Nichols and V. Jacobson, Controlling queue delay (CoDel), ACM Queue 10(5), 2012, in the form for servers of B. Maurer, Fail at
scale, ACM Queue 13(8), 2015.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

_MOST: Final = 10_000  # that wait


class _Waiting(NamedTuple):
    since: float
    turn: asyncio.Future[bool]


class Lane:
    """Slots for requests, in the order in which they come.

    Args:
        slots: requests that are worked on at the same time.
        patience, standing: seconds, see above; 0: however long it takes.
    """

    def __init__(self, slots: int, patience: float, standing: float) -> None:
        self._slots = self._free = slots
        self._patience, self._standing = patience, standing
        self._queue: deque[_Waiting] = deque()
        self._since = 0.0  # from when on there was always somebody waiting
        self._baton = asyncio.Lock()

    @property
    def working(self) -> int:
        """Requests that have a slot."""
        return self._slots - self._free

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return sum(1 for one in self._queue if not one.turn.done())

    async def enter(self) -> bool:
        """Wait for a slot; False: there was none in time. True: `leave` must be called."""
        if self._free and not self._queue:
            self._free -= 1
            return True
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._refuse_late(now)
        if len(self._queue) >= _MOST:
            return False
        if not self._queue:
            self._since = now
        turn: asyncio.Future[bool] = loop.create_future()
        self._queue.append(_Waiting(now, turn))
        # Slots whose requests are stuck are not left: this must not depend on it.
        timer = loop.call_later(self._patience, _refuse, turn) if self._patience else None
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def begin(self) -> None:
        """Wait for a turn of the event loop in which no other request of this lane begins.

        A request that waits for nothing runs to its end in the turn in which it begins. If all slots began in one, whoever
        connects, sends or is to be refused would be looked at once in so many answers, and wait unseen in front of the queue.
        """
        async with self._baton:
            await asyncio.sleep(0)

    def leave(self) -> None:
        """Hand the slot on."""
        self._refuse_late(asyncio.get_running_loop().time())
        while self._queue:
            turn = self._queue.popleft().turn
            if not turn.done():
                turn.set_result(True)
                return
        self._free += 1

    def _refuse_late(self, now: float) -> None:
        """Take those out of the queue's head who gave up or have waited too long."""
        limit = self._standing if now - self._since > self._patience else self._patience
        while self._queue and (self._queue[0].turn.done() or (self._patience and now - self._queue[0].since > limit)):
            _refuse(self._queue.popleft().turn)


def _refuse(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
