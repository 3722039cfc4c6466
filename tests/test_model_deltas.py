"""Deltas: small commits, bounded in number and bytes, never a wrong state, and nothing in them of somebody who was forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store import page_rewriting
from feature_store.keys import MODEL_INDEX
from feature_store.model_deltas import Delta, DeltaId, Words, pack_delta, unpack_delta
from feature_store.packing import CorruptBlob
from feature_store.page_format import PAGE_BYTES, PageId
from feature_store.page_replica import Place, Replica, reads
from feature_store.page_rewriting import MOST_DELTAS, rewritten_now, room_for_deltas
from tests.page_store import PageStore, State, equal, few_changes

numbers_of_words = st.lists(st.integers(0, 2**32 - 1), unique=True, min_size=1, max_size=40).map(sorted)


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(st.sampled_from(["a", "log.item", "ünï"]), numbers_of_words), st.integers(0, 2**63), st.integers(1, 2**32 - 1)
)
def test_a_delta_is_unpacked_as_it_was_packed(found: dict[str, list[int]], epoch: int, commit: int) -> None:
    words = {
        name: Words(np.array(numbers, np.int64), np.arange(len(numbers), dtype=np.uint64) + 2**60)
        for name, numbers in found.items()
    }
    delta = unpack_delta(pack_delta(Delta(epoch, commit, words)))
    assert (delta.epoch, delta.commit, delta.words.keys()) == (epoch, commit, words.keys())
    for name, mine in words.items():
        assert all(np.array_equal(packed, unpacked) for packed, unpacked in zip(mine, delta.words[name], strict=True))


def test_a_delta_that_contradicts_itself_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_store.model_deltas._runs", lambda numbers: (b"\0" * 4, b"\0" * 4))
    blob = pack_delta(Delta(1, 1, {"a": Words(np.arange(3), np.zeros(3, np.uint64))}))
    with pytest.raises(CorruptBlob, match="do not match"):
        unpack_delta(blob)


# --- what a commit costs --------------------------------------------------------------------------------------------------


def random_state(megabytes: int, seed: int = 1) -> State:
    rng = np.random.default_rng(seed)
    return {name: rng.random((megabytes << 13, 16), np.float32) for name in ("users", "items")}


def scatter(state: State, words: int, rng: np.random.Generator) -> int:
    """Change single numbers anywhere; returns the bytes of their pages."""
    pages = 0
    for array in state.values():
        flat = array.reshape(-1)
        places = rng.integers(0, len(flat), words // len(state))
        flat[places] = rng.random(len(places), np.float32)
        pages += len(np.unique(places * 4 // PAGE_BYTES))
    return pages * PAGE_BYTES


def test_a_thousand_scattered_words_of_30_megabytes_cost_less_than_a_tenth_of_their_pages() -> None:
    store, state, rng = PageStore(), random_state(30), np.random.default_rng(2)
    store.commit(state)
    as_pages = scatter(state, 1000, rng)
    changes = store.commit(state)
    assert as_pages > 15_000_000
    assert changes.bytes < as_pages / 10
    assert changes.bytes < as_pages / 40


def test_what_changed_throughout_goes_as_pages() -> None:
    store, state = PageStore(), random_state(1)
    store.commit(state)
    state["items"] += 1
    changes = store.commit(state)
    assert store.deltas() == {}
    assert changes.bytes < 1.01 * state["items"].nbytes + 20_000


@pytest.mark.parametrize("words", [20, 3000, 20_000])
def test_deltas_stay_few_and_small_and_pages_are_rewritten_evenly(words: int) -> None:
    store, state, replica = PageStore(), random_state(2), Replica()
    rng, room = np.random.default_rng(3), room_for_deltas(2 << 20)
    store.commit(state)
    sizes, counts = [], []
    for _ in range(150):
        scatter(state, words, rng)
        changes = store.commit(state)
        deltas = store.deltas()
        assert len(deltas) <= MOST_DELTAS
        assert sum(deltas.values()) <= room
        sizes.append(changes.bytes)
        counts.append(len(changes.puts) - 2)
    assert store.follow(replica)
    assert equal(replica.state, state)
    late = counts[75:]
    assert sum(late) > 0, "stale pages are rewritten"
    assert max(late) <= 2 * np.mean(late) + 3
    as_pages = np.mean([scatter(random_state(2), words, rng) for _ in range(3)])
    assert np.mean(sizes[75:]) < 0.7 * as_pages


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30)), min_size=1, max_size=90), st.sampled_from([3, 64]))
def test_rewriting_leaves_no_more_deltas_than_there_is_room_for(commits: list[tuple[int, int]], most: int) -> None:
    since, deltas, room = np.zeros(0, np.uint32), dict[int, int](), 1000
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(page_rewriting, "MOST_DELTAS", most)
        for commit, (size, pages) in enumerate(commits, 1):
            deltas[commit] = size
            since = np.append(since, np.full(pages, commit, np.uint32))
            since = since[rewritten_now(since, deltas, room) :]
            oldest = int(since[0]) if len(since) else commit + 1
            deltas = {number: bytes_ for number, bytes_ in deltas.items() if number >= oldest}
            assert len(deltas) <= most
            assert sum(deltas.values()) <= room


# --- who reads them -------------------------------------------------------------------------------------------------------


def wanted(store: PageStore, replica: Replica) -> list[Place]:
    return replica.wanted(store.blobs[MODEL_INDEX])


def test_who_follows_reads_the_deltas_that_it_has_not() -> None:
    store, state, replica = few_changes(1)
    assert [type(place) for place in wanted(store, replica)] == [DeltaId]
    assert store.follow(replica)
    for number in range(3):
        state["counts"][[number, 40_000]] += 7
        store.commit(state)
    assert [place.key for place in wanted(store, replica)] == [b"m:{learner}delta@%d" % commit for commit in (3, 4, 5)]
    assert store.follow(replica)
    assert equal(replica.state, state)
    assert wanted(store, replica) == []


def test_a_rewritten_page_is_not_fetched_by_who_has_its_deltas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_rewriting, "MOST_DELTAS", 4)
    store, state, replica = few_changes(2)
    rewritten = 0
    for number in range(12):
        state["counts"][number * 8192] += 1
        state["counts"][99_999] += 1
        changes = store.commit(state)
        found = wanted(store, replica) if number == 0 else []
        assert store.follow(replica)
        pages = [place for place in found if isinstance(place, PageId)]
        rewritten += len(changes.puts) - 2
        assert pages == []
        assert equal(replica.state, state)
        fresh = Replica()
        assert store.follow(fresh)
        assert equal(fresh.state, state)
    assert rewritten > 2


def test_an_older_delta_takes_nothing_back_that_a_page_has() -> None:
    store, state, replica = few_changes(2)
    state["counts"][:8192] = 3  # goes as a page, while the deltas before live on for the other page
    store.commit(state)
    assert len(store.deltas()) == 2
    for reader in (replica, Replica()):
        assert store.follow(reader)
        assert equal(reader.state, state)


@pytest.mark.parametrize("anew", [np.ones(9_000, np.uint32), np.zeros(60_000), np.ones((9_000, 2), np.int16)])
def test_deltas_of_an_array_that_began_anew_are_about_another(anew: np.ndarray) -> None:  # type: ignore[type-arg]
    store, state, replica = few_changes(2)
    state["others"] = np.ones(9_000)
    store.commit(state)
    state["others"][7] = 2
    state["counts"][99_999] = 2
    store.commit(state)
    state["counts"] = anew
    store.commit(state)
    assert len(store.deltas()) == 1, "the others need it"
    assert store.blobs.keys() == store.told(), "pages and deltas that are not needed are gone"
    for reader in (replica, Replica()):
        assert store.follow(reader)
        assert equal(reader.state, state)


def test_who_was_away_for_long_fetches_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_rewriting, "MOST_DELTAS", 4)
    store, state, replica = few_changes(20)
    found = wanted(store, replica)
    assert any(isinstance(place, PageId) for place in found)
    assert store.follow(replica)
    assert equal(replica.state, state)


@pytest.mark.parametrize("damage", ["lost", "torn off", "a bit", "of another commit", "of another epoch"])
def test_a_bad_delta_is_a_fault_and_the_state_stays(damage: str) -> None:
    store, state, replica = few_changes(3)
    before = {name: array.copy() for name, array in replica.state.items()}
    found = wanted(store, replica)
    key = found[1].key
    whole = store.blobs[key]
    other = unpack_delta(whole)._replace(epoch=77)
    bad = {
        "torn off": whole[:-1], "a bit": whole[:-9] + bytes((whole[-9] ^ 1,)) + whole[-8:],
        "of another commit": store.blobs[found[0].key], "of another epoch": pack_delta(other),
    }.get(damage)  # fmt: skip
    blobs = store.read(found)
    blobs[1] = bad
    assert not replica.take(blobs)
    assert key.decode() in replica.faults[0]
    assert replica.torn == (damage not in {"torn off", "a bit"})
    assert equal(replica.state, before)
    assert [place.key for place in wanted(store, replica)] == [key], "what was read is not read again"
    assert store.follow(replica)
    assert equal(replica.state, state)


def test_words_beyond_their_array_are_damage() -> None:
    store, _, replica = few_changes(1)
    place = wanted(store, replica)[0]
    beyond = Words(np.array([13 * 4096]), np.ones(1, np.uint64))
    assert not replica.take([pack_delta(Delta(5, 2, {"counts": beyond}))])
    assert "no word 53248" in replica.faults[0]
    assert isinstance(place, DeltaId)


def test_a_delta_removed_between_index_and_deltas_is_a_torn_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_rewriting, "MOST_DELTAS", 2)
    store, state, replica = few_changes(1)
    found = wanted(store, replica)
    for _ in range(4):
        state["counts"][5] += 1
        store.commit(state)
    assert not replica.take(store.read(found))
    assert replica.torn
    assert store.follow(replica)
    assert equal(replica.state, state)


def test_arrays_that_are_left_out_cost_no_deltas() -> None:
    store, replica = PageStore(), Replica(skip="judge.")
    state = {"judge.ranks": np.ones(9000), "counts": np.ones(9000)}
    store.commit(state)
    assert store.follow(replica)
    state["judge.ranks"][3] = 2
    store.commit(state)
    assert wanted(store, replica) == []
    state["counts"][4] = 3
    store.commit(state)
    assert store.follow(replica)
    assert equal(replica.state, {"counts": state["counts"]})


def test_keys_are_read_a_megabyte_at_a_time() -> None:
    places = [*(PageId("a", page) for page in range(40)), DeltaId(1, 3_000_000), DeltaId(2, 10), DeltaId(3, 10)]
    assert [len(keys) for keys in reads(places)] == [32, 8, 1, 2]
    assert [key for keys in reads(places) for key in keys] == [place.key for place in places]
    assert list(reads([])) == []
