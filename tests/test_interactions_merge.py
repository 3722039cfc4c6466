"""How the learner merges what the user stages of all partitions tell it: by event time, every row once, wherever it restarts."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import CLICKS, FEEDBACK, USERS, VIEWS
from stream_workers.handlers.interaction_merge import InteractionMerge, Merged
from stream_workers.handlers.interactions import FORGET, InteractionColumns
from tests.interaction_columns import MANY, columns


def drained(merge: InteractionMerge, limit: int = 1000) -> list[Merged]:
    merge.release(merge.waiting())
    parts = []
    while (part := merge.take(limit)) is not None:
        assert len(part.users) <= limit
        parts.append(part)
    return parts


def times_of(parts: list[Merged]) -> list[int]:
    return [int(time) for part in parts for time in part.timestamps]


def test_partitions_are_merged_by_event_time() -> None:
    merge = InteractionMerge(range(2), {})
    merge.add(0, 0, columns([10, 30, 50]))
    merge.add(1, 0, columns([20, 40], partition=1))
    taken = merge.take(100)
    assert taken is not None
    assert taken.timestamps.tolist() == [10, 20, 30, 40]  # 50 waits: partition 1 may still deliver 45
    assert taken.users == ["u10", "u20", "u30", "u40"]
    assert merge.take(100) is None
    merge.add(1, 1, columns([45, 60], partition=1, first=2))
    assert times_of([merge.take(1) or pytest.fail("nothing"), merge.take(1) or pytest.fail("nothing")]) == [45, 50]


def test_nothing_is_taken_while_a_partition_is_empty_until_it_is_released() -> None:
    merge = InteractionMerge(range(2), {})
    merge.add(0, 0, columns([10, 20]))
    assert merge.take(100) is None
    waiting = merge.waiting()
    merge.add(0, 1, columns([30], first=2))
    merge.release(waiting)
    assert times_of([merge.take(100) or pytest.fail("nothing")]) == [10, 20]
    assert merge.take(100) is None


@MANY
@given(st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=4), st.integers(1, 7), st.integers(0, 10**6))
def test_every_row_is_taken_exactly_once_whatever_is_sent_twice_and_wherever_it_restarts(
    streams: list[list[int]], size: int, seed: int
) -> None:
    rng = random.Random(seed)
    sent: list[list[InteractionColumns]] = []
    for partition, times in enumerate(streams):
        messages, at = [], 0
        while at < len(times):
            back = rng.randrange(0, at + 1) if rng.random() < 0.3 else at  # a restarted user stage sends from its watermark
            end = min(len(times), max(at, back) + rng.randrange(1, 9))
            messages.append(columns(times[back:end], partition, back))
            at = max(at, end)
        sent.append(messages)
    marks: dict[str, int] = {}
    taken: list[tuple[int, int]] = []  # partition, time
    for _ in range(400):
        merge = InteractionMerge(range(len(sent)), marks)
        for partition, messages in enumerate(sent):
            first = marks.get(f"interactions:{partition}", -1) + 1
            for offset, message in list(enumerate(messages))[first : first + rng.randrange(1, 4)]:
                merge.add(partition, offset, message)
        merge.release(merge.waiting())
        for _ in range(rng.randrange(1, 4)):
            part = merge.take(size)
            for p in range(len(streams)) if part is not None else ():
                before, after = (m.get(f"clicks:{p}", -1) for m in (marks, merge.marks))
                taken += [(p, streams[p][offset]) for offset in range(before + 1, after + 1)]
            if part is not None:
                assert sorted(part.timestamps.tolist()) == sorted(time for _, time in taken[-len(part.users) :])
            marks = dict(merge.marks)  # a restart forgets everything else
        if sum(map(len, streams)) == len(taken):
            break
    assert sorted(taken) == sorted((p, time) for p, times in enumerate(streams) for time in times)


@MANY
@given(st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=4), st.integers(1, 50))
def test_rows_of_a_partition_keep_their_order_and_merge_as_late_as_the_latest_before_them(
    streams: list[list[int]], limit: int
) -> None:
    merge = InteractionMerge(range(len(streams)), {})
    for partition, times in enumerate(streams):
        merge.add(partition, 0, columns([1000 * time + partition for time in times], partition))
    found = times_of(drained(merge, limit))
    for partition, times in enumerate(streams):
        assert [time for time in found if time % 1000 == partition] == [1000 * time + partition for time in times]
    if all(times == sorted(times) for times in streams):
        assert found == sorted(found)
    assert merge.rows == 0


def test_marks_name_the_last_whole_message_and_the_last_row() -> None:
    merge = InteractionMerge(range(1), {})
    merge.add(0, 7, columns([1, 2, 3], first=40))
    merge.skip(0, 8)
    merge.take(2)
    assert merge.marks == {"clicks:0": 41}
    merge.take(2)
    assert merge.marks == {"clicks:0": 42, "interactions:0": 8}
    merge.skip(0, 9)
    assert merge.marks["interactions:0"] == 9


def test_a_message_of_another_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="partition 5"):
        InteractionMerge(range(2), {}).add(0, 0, columns([1], partition=5))


def test_topics_that_are_read_ahead_of_each_other_are_merged_too() -> None:
    merge = InteractionMerge(range(1), {})
    merge.add(0, 0, columns([10, 30, 50, 70]))
    merge.add(0, 1, columns([20, 40], topic=VIEWS))
    taken = merge.take(100)
    assert taken is not None
    assert taken.timestamps.tolist() == [10, 20, 30, 40]  # the views may still go on with 45
    assert merge.silent() == [(0, VIEWS)]
    assert times_of(drained(merge)) == [50, 70]
    assert merge.marks == {"clicks:0": 3, "views:0": 1, "interactions:0": 1}


def test_nobody_waits_for_a_topic_that_nobody_uses() -> None:
    merge = InteractionMerge(range(1), {})
    merge.add(0, 0, columns([10, 20]))
    assert times_of([merge.take(100) or pytest.fail("nothing")]) == [10, 20]
    known = InteractionMerge(range(1), {"views:0": 5})
    known.add(0, 0, columns([10, 20]))
    assert known.take(100) is None, "there were views before the restart"


def test_forgetting_stands_between_what_came_before_and_after_whatever_the_topics() -> None:
    merge = InteractionMerge(range(2), {})
    merge.add(0, 0, columns([500]))
    merge.add(0, 1, columns([10, 900], topic=VIEWS))
    gone = columns([0], topic=USERS)._replace(types=np.array([FORGET], np.uint8), items=np.array([-1]))
    merge.add(0, 2, gone)
    merge.add(0, 3, columns([20], first=1))
    merge.add(0, 4, columns([30], topic=VIEWS, first=2))
    merge.add(1, 0, columns([100], partition=1))
    types, times = [], []
    for part in drained(merge, limit=2):
        types += part.types.tolist()
        times += part.timestamps.tolist()
    assert times[:5] == [10, 100, 500, 900, 0]
    assert sorted(times[5:]) == [20, 30]
    assert types.index(FORGET) == 4
    assert merge.marks["users:0"] == 0


@MANY
@given(
    st.lists(st.tuples(st.sampled_from([VIEWS, CLICKS, FEEDBACK]), st.integers(1, 5)), max_size=20), st.integers(1, 9), st.data()
)
def test_every_row_of_every_topic_is_taken_exactly_once_wherever_it_restarts(
    runs: list[tuple[str, int]], size: int, data: st.DataObject
) -> None:
    messages, sent = [], dict.fromkeys((VIEWS, CLICKS, FEEDBACK), 0)
    for topic, count in runs:
        times = data.draw(st.lists(st.integers(0, 50), min_size=count, max_size=count))
        messages.append(columns(times, topic=topic, first=sent[topic]))
        sent[topic] += count
    marks: dict[str, int] = {}
    taken = 0
    for _ in range(len(messages) * 5 + 1):
        merge = InteractionMerge(range(1), marks)
        first = marks.get("interactions:0", -1) + 1
        for offset in range(first, min(first + data.draw(st.integers(1, 4)), len(messages))):
            merge.add(0, offset, messages[offset])
        merge.release(merge.waiting())
        part = merge.take(size)
        taken += len(part.users) if part is not None else 0
        marks = dict(merge.marks)
    while (part := merge.take(size)) is not None:
        taken += len(part.users)
    assert taken <= sum(sent.values())
    assert all(merge.marks.get(f"{topic}:0", -1) <= count - 1 for topic, count in sent.items())
    assert taken == sum(merge.marks.get(f"{topic}:0", -1) + 1 for topic in sent)
