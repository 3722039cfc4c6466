"""A product team's own sources: what they propose joins the list, and what the surfaces file says of them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ops.cli import app
from schemas.errors import InvalidSettings
from schemas.settings import Settings
from serving.app import create_app
from serving.candidates.joining import Listed, joined
from serving.candidates.own_http import MAX_BYTES
from serving.plan import plan_of
from serving.query import RecommendationQuery
from serving.ranking.fusion import WEIGHTS
from serving.services import Services
from serving.surface_file import parse_surfaces
from serving.surface_sources import ONLINE
from stream_workers.models.online.columns import History, Interactions
from stream_workers.models.scoring_bank import ScoringBank
from tests.decision_world import ListedDecisions, asked
from tests.learned_world import COMEDY, HORROR, following, learned
from tests.own_world import DEAD, Shop, asking, declared, follow, recommend, shop
from tests.test_serving_world import NOW, NUMBERS, World, cinema, ids

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GIVEN = ["c30", "c31", "brand new", "h30"]


@pytest.fixture
async def editors() -> AsyncIterator[Shop]:
    async with shop() as made:
        made.behaviour = GIVEN
        yield made


def catalogued() -> World:
    world, _ = learned()
    world.add_item("brand new", "A film that no model knows", categories=["Western"])
    return world


async def test_the_blend_scores_what_the_models_know_and_ranks_place_the_rest(editors: Shop, tmp_path: Path) -> None:
    world = catalogued()
    world.decisions = ListedDecisions()
    services = await follow(asking(world, tmp_path, declared(editors), "{sources: {own: {editors: 1}, newcomers: off}}"))
    async with world.client(services=services) as client:
        plain = await recommend(client, k=200, surface="none of the file's", filter="item_id != 'brand new'")
        one = await asked(client, k=200)
        page = await one.page()
        metrics = (await client.get("/metrics")).text
    found = {item["item_id"]: item for item in one.answer["items"]}
    assert one.answer["models"] == plain["models"]
    assert list(found).index("brand new") == 3, "third of its list, and of equal worth, so right behind the third of the blend"
    for place, item in enumerate(GIVEN, 1):
        assert found[item]["sources"]["editors"] == pytest.approx(place**-0.5)
    assert found["brand new"]["sources"].keys() == {"editors"}
    assert found["brand new"]["reason"] == "suggested by editors"
    assert page["sources"]["editors"] == len(GIVEN)
    assert 'freshet_source_seconds_count{source="editors"} 2.0' in metrics
    scores = [item["score"] for item in one.answer["items"]]
    assert scores == sorted(scores, reverse=True)


async def test_known_items_have_exactly_the_blends_score(editors: Shop, tmp_path: Path) -> None:
    """What the blend proposes anyway keeps its place and its share among the others."""
    world, _ = learned()
    services = await follow(asking(world, tmp_path, declared(editors)))
    editors.behaviour = HORROR[20:30]
    async with world.client(services=services) as client:
        with_own = await recommend(client, k=30)
        editors.behaviour = []
        without = await recommend(client, k=30)
    assert ids(with_own) == ids(without)
    assert [item["score"] for item in with_own["items"]] == pytest.approx([item["score"] for item in without["items"]])


async def test_they_join_by_rank_where_there_is_no_blend(editors: Shop, tmp_path: Path) -> None:
    world = cinema()
    editors.behaviour = [{"item_id": "8", "score": 0.1}, {"item_id": "7", "score": 5}]
    services = await follow(asking(world, tmp_path, declared(editors, weight=10), "{sources: {own: {editors: 1}}}"))
    async with world.client(services=services) as client:
        answer = await recommend(client, explain=True)
    assert ids(answer)[:2] == ["7", "8"]
    assert answer["items"][0]["reason"] == "suggested by editors"
    assert next(iter(answer["items"][0]["sources"])) == "editors"
    assert answer["explanation"]["own_sources"] == {"editors": {"items": 2, "failure": None}}
    assert answer["explanation"]["weights"]["editors"] == 10


async def test_without_a_blend_a_list_is_plain_reciprocal_rank_fusion(editors: Shop, tmp_path: Path) -> None:
    """Cormack, Clarke and Buettcher 2009, worked out here from the ranks that each source gives."""
    editors.behaviour = ["8", "5", "2"]
    services = await follow(asking(cinema(), tmp_path, declared(editors, weight=0.7)))
    query = RecommendationQuery(user_id="ann", k=10)
    decision = await services.recommender.recommend(query, plan_of(query, services.surfaces.current))
    weights = {**WEIGHTS, "editors": 0.7}
    assert {name for name, part in decision.votes.items() if part} == {"covisitation", "affinity", "editors", "trending"}
    scores: dict[str, float] = {}
    for name, part in decision.votes.items():
        for rank, item in enumerate(sorted(part, key=lambda item: -part[item]), 1):
            scores[item] = scores.get(item, 0.0) + weights[name] / (60 + rank)
    assert list(decision.votes["editors"]) == editors.behaviour
    assert dict(decision.chosen) == pytest.approx(scores)
    assert [score for _, score in decision.chosen] == sorted(scores.values(), reverse=True)


@pytest.mark.parametrize("online", [True, False])
async def test_filters_availability_and_what_was_seen_hold_for_them_too(online: bool, editors: Shop, tmp_path: Path) -> None:
    world = catalogued() if online else cinema()
    seen, gone = ("h3", "c30") if online else ("1", "8")
    world.add_item(gone, "sold out", available=False)
    editors.behaviour = [seen, gone, "not in the catalogue", "brand new", "7", "h30"]
    surface = "{sources: {own: {editors: 10}}, filter: 'not (\"Western\" in categories)'}"
    services = await follow(asking(world, tmp_path, declared(editors), surface))
    async with world.client(services=services) as client:
        answer = await recommend(client, k=200)
        only = await recommend(client, k=200, candidates=["7", "h30", seen])
    assert not {seen, gone, "not in the catalogue", "brand new"} & set(ids(answer))
    assert {"7", "h30"} & set(ids(answer))
    assert set(ids(only)) <= {"7", "h30"}


async def test_it_is_told_who_asks_and_its_token_and_not_the_history(editors: Shop, tmp_path: Path) -> None:
    world = cinema()
    services = await follow(asking(world, tmp_path, declared(editors, max_items=7), source_tokens="editors=s3cret;other=x"))
    async with world.client(services=services) as client:
        await recommend(client, session_id="s", recent_items=["5"], context={"page": "home"}, k=3)
        await recommend(client, session_id="s", recent_items=["5"], context={"page": "home"}, k=3)
    assert editors.asked[0] == editors.asked[1] == {
        "user_id": "ann", "session_id": "s", "surface": "default", "k": 3, "max_items": 7, "recent_items": ["5"],
        "candidates": None, "context": {"page": "home"},
    }  # fmt: skip
    assert b"authorization: bearer s3cret" in editors.headers[0].lower()
    assert b"cookie" not in editors.headers[1].lower(), "which the first answer set"


async def test_a_surface_that_does_not_name_it_does_not_ask_it(editors: Shop, tmp_path: Path) -> None:
    world = cinema()
    services = await follow(asking(world, tmp_path, declared(editors), "{sources: {own: {editors: 0}}}"))
    async with world.client(services=services) as client:
        await recommend(client)
    assert editors.asked == []


def test_an_item_that_the_models_know_and_do_not_propose_is_scored_by_them() -> None:
    bank = ScoringBank(NUMBERS._replace(pool=3))
    users = [f"fan{n % 20}" for n in range(600)]
    taken = [(HORROR if n % 2 else COMEDY)[(n * 7 + n // 20) % 40] for n in range(600)]
    batch = Interactions.taken(users, taken, NOW + 1000 * np.arange(600))
    bank.advance(batch, np.ones(600, np.bool_))
    history = History("ann", ["h1", "h2"], np.ones(2, np.uint8), np.array([NOW + 2, NOW + 1]))
    proposal = bank.recommend(history, NOW + 700_000, 640, ["h1", "h2"], features=True)
    hidden = [item for item in HORROR[3:] + COMEDY if item not in proposal.items][:3]
    expected = dict(zip(hidden, bank.scores(hidden, history, NOW + 700_000, ["h1", "h2"]).tolist(), strict=True))
    bank.recommend(history, NOW + 700_000, 640, ["h1", "h2"])
    listed = {"editors": Listed(["h1", hidden[0], "new", proposal.items[0]], 1.0), "others": Listed(hidden[1:], 0.5)}
    whole = joined(bank, proposal, listed)
    assert set(whole.items) == {*proposal.items, *hidden, "new"}, "h1 was taken"
    scores = dict(zip(whole.items, whole.scores.tolist(), strict=True))
    assert {item: scores[item] for item in hidden} == expected
    assert {item: scores[item] for item in proposal.items} == dict(zip(proposal.items, proposal.scores.tolist(), strict=True))
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    said = {item: whole.said(row) for row, item in enumerate(whole.items)}
    assert said["new"] == {"editors": pytest.approx(3**-0.5)}
    assert said[hidden[2]] == {"others": pytest.approx(2**-0.5)}
    assert said[proposal.items[0]] == {**proposal.said(0), "editors": 0.5}
    assert [bank.items.code(item) for item in whole.items] == whole.codes.tolist()
    assert whole.features is not None and proposal.features is not None
    assert whole.features.shape == (len(proposal.features), len(whole.items))
    assert joined(bank, proposal, {"none": Listed([], 1.0)}).items == proposal.items
    nothing = bank.recommend(history, NOW + 700_000, 640, HORROR + COMEDY)
    alone = joined(bank, nothing, {"editors": Listed(["new", "h5", "newer"], 1.0)})
    assert (nothing.items, alone.items, alone.scores.tolist()) == ([], ["new", "newer"], [0.0, 0.0])


async def test_every_source_inside_the_blend_can_be_switched() -> None:
    world, _ = learned()
    services, query = await following(world), RecommendationQuery(user_id="ann", k=20)
    for only in ONLINE:
        off = ", ".join(f"{name}: off" for name in ONLINE if name != only)
        for silent in (off, f"{only}: off"):
            text = f"surfaces: {{default: {{sources: {{newcomers: off, online: {{{silent}}}}}}}}}"
            decision = await services.recommender.recommend(query, plan_of(query, parse_surfaces(text)))
            assert decision.blended is not None and len(decision.chosen) > 2
            named = {name for item, _ in decision.chosen if item in decision.blended for name in decision.blended.sources(item)}
            assert named == {only} if silent == off else named and only not in named


@pytest.mark.parametrize(
    ("sources", "settings", "said"),
    [
        ("{editors: {url: 'http://elsewhere/x'}}", {}, "line 1: sources.editors.url: elsewhere is not one of FRESHET_SOURCE_HOSTS"),
        ("{editors: {url: 'http://127.0.0.1:81/x'}}", {"source_hosts": "127.0.0.1:80"}, "127.0.0.1 is not one of"),
        ("{editors: {python: 'no_such_module:f'}}", {}, "line 1: sources.editors.python: cannot be imported: ModuleNotFoundError"),
        ("{editors: {python: 'asyncio:sleep'}}", {}, "must be a plain function"),
        ("{editors: {python: 'asyncio:nothing_there'}}", {}, "cannot be imported: AttributeError"),
        ("{editors: {python: 'no_such_entry_point'}}", {}, "cannot be imported"),
        ("{editors: {url: 'file:///etc/passwd'}}", {}, "must be http"),
        ("{editors: {url: 'http://me:pw@127.0.0.1/'}}", {}, "no user, password"),
        ("{editors: {url: 'http://127.0.0.1/', timeout_ms: 0}}", {}, "greater than or equal to 1"),
        ("{editors: {url: 'http://127.0.0.1/', python: 'a:b'}}", {}, "a url or python, and not both"),
        ("{trending: {url: 'http://127.0.0.1/'}}", {}, "a source of Freshet has that name"),
        ("{other: {url: 'http://127.0.0.1/'}}", {}, "own.editors: is none of the file's own sources"),
    ],
)
def test_a_wrong_file_stops_the_start(sources: str, settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"line \d: ") as refused:
        asking(cinema(), tmp_path, sources, **settings)
    assert said in str(refused.value)


async def recommended(services: Services) -> None:
    query = RecommendationQuery(user_id="ann", k=3)
    decision = await services.recommender.recommend(query, plan_of(query, services.surfaces.current))
    assert decision.given["editors"].failure is None


async def test_a_changed_file_keeps_what_stays_and_drops_what_goes(editors: Shop, tmp_path: Path) -> None:
    world = cinema()
    services = asking(world, tmp_path, declared(editors))
    own = services.recommender._own
    kept = own["editors"]
    await recommended(services)
    session = kept._source._session  # type: ignore[attr-defined]
    assert session is not None and not session.closed
    asking(world, tmp_path, declared(editors), "{sources: {own: {editors: 2}}}")
    assert services.surfaces.refresh()
    assert own["editors"] is kept
    asking(world, tmp_path, declared(editors, timeout_ms=70))
    assert services.surfaces.refresh()
    assert own["editors"] is not kept
    await own.sweep()
    assert session.closed
    await recommended(services)
    await own.stop()


async def test_a_preview_asks_only_what_is_in_force(editors: Shop, tmp_path: Path) -> None:
    """A client's text must make the server neither ask an address nor import a module."""
    world = cinema()
    services = await follow(asking(world, tmp_path, DEAD))
    text = f"sources: {{mine: {{url: '{editors.url}'}}, code: {{python: 'antigravity:x'}}}}\n"
    text += "surfaces: {default: {sources: {own: {mine: 1, code: 1}}}}"
    async with world.client(services=services) as client:
        response = await client.post("/v1/surfaces/preview", json={"surfaces": text, "query": {"user_id": "ann"}})
    assert response.status_code == 200
    assert editors.asked == []
    assert "antigravity" not in sys.modules


def test_tokens_are_secret() -> None:
    with pytest.raises(InvalidSettings, match=r"FRESHET_SOURCE_TOKENS=\*\*\*: .*NAME=TOKEN") as refused:
        Settings.from_environment({"FRESHET_SOURCE_TOKENS": "no name, s3cret"})
    assert "s3cret" not in str(refused.value)
    settings = Settings.from_environment({"FRESHET_SOURCE_TOKENS": "a=b=;c=d;"})
    assert settings.tokens_by_source == {"a": "b=", "c": "d"}
    assert settings.secrets() == {"FRESHET_SOURCE_TOKENS": "a=b=;c=d;"}


def test_the_app_starts_with_own_sources(tmp_path: Path) -> None:
    (tmp_path / "surfaces.yaml").write_text("sources: " + DEAD + "\nsurfaces: {home: {sources: {own: {editors: 1}}}}")
    create_app(Settings(surfaces=tmp_path / "surfaces.yaml", source_hosts="127.0.0.1:9"))
    assert MAX_BYTES < 5_000_000


async def check(file: Path, *arguments: str) -> Result:
    """`freshet config check` beside the running server."""
    environment = {"FRESHET_SOURCE_HOSTS": "127.0.0.1", "NO_COLOR": "1"}
    return await asyncio.to_thread(CliRunner().invoke, app, ["config", "check", str(file), *arguments], env=environment)


async def test_the_command_tells_of_own_sources_and_whether_they_answer(editors: Shop, tmp_path: Path) -> None:
    asking(cinema(), tmp_path, declared(editors, weight=0.5), "{sources: {own: {editors: 2}, online: {session_knn: off}}}")
    file = tmp_path / "surfaces.yaml"
    told = await check(file)
    line = f"own source editors: POST {editors.url}, within 60 ms, the best 100, weight 0.5"
    assert told.stdout.splitlines() == [
        line, "default", "  source session_knn of the online blend: proposes nothing", "  own source editors: 2 times its weight",
    ]  # fmt: skip
    assert (told.exit_code, editors.asked) == (0, [])
    assert (await check(file, "--ask")).stdout.splitlines()[1] == "  answers, 4 items"
    editors.behaviour = "hang"
    silent = await check(file, "--ask", "--json")
    assert silent.exit_code == 1
    assert json.loads(silent.stdout)["sources"] == {"editors": {"does": line, "answer": {"items": [], "failure": "timeout"}}}
    refused = await asyncio.to_thread(CliRunner().invoke, app, ["config", "check", str(file)], env={"FRESHET_SOURCE_HOSTS": ""})
    assert refused.exit_code == 2
    assert "line 1: sources.editors.url: 127.0.0.1 is not one of FRESHET_SOURCE_HOSTS" in refused.stderr


async def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picks.txt").write_text("8\n7\nnot-there\n")
    monkeypatch.setenv("PICKS", str(tmp_path / "picks.txt"))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    started = [sys.executable, str(EXAMPLES / "own_source.py"), "0", str(tmp_path / "picks.txt")]
    process = await asyncio.create_subprocess_exec(*started, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().rpartition(" ")[2].strip()
        text = (EXAMPLES / "own_source.yaml").read_text()
        text = text.replace("http://127.0.0.1:9000/", url).replace("timeout_ms: 40", "timeout_ms: 900")
        called = text.replace(f'url: "{url}"', 'python: "own_source:picks"')
        for file in (text, called):
            (tmp_path / "example.yaml").write_text(file)
            settings = Settings(surfaces=tmp_path / "example.yaml", source_hosts="127.0.0.1", partitions=2)
            services = await follow(cinema().services(settings))
            async with cinema().client(services=services) as client:
                answer = await recommend(client, surface="home", explain=True, recent_items=["7"])
            assert answer["explanation"]["own_sources"] == {"editors": {"items": 2, "failure": None}}
            assert {"8"} == {item["item_id"] for item in answer["items"] if "editors" in item["sources"]}
    finally:
        process.terminate()
        await process.wait()
