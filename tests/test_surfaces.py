"""The surfaces file: every fault with its line, at the start, while the API runs, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ops.cli import app
from schemas.errors import InvalidSettings
from schemas.settings import Settings
from serving.app import create_app
from serving.candidates.own import OwnSources
from serving.metrics import Metrics
from serving.surface_file import MAX_CHARACTERS, InvalidSurfaces, parse_surfaces
from serving.surface_sources import Sources
from serving.surface_summary import custom_attributes, summary
from serving.surface_watch import SurfaceWatch
from serving.surfaces import BUILT_IN, NO_SURFACES, Surface
from tests.test_serving_world import SETTINGS, cinema, ids

WHOLE = """
surfaces:
  home:
    sources: {trending: off, affinity: 2, newcomers: false}
    filter: price < 20 or brand == "Acme"
    constraints:
      - {name: cheap, filter: price < 10}
    exclude: {seen: 90m, bought: never}
    boosts:
      - {when: '"comedy" in categories', factor: 2}
    pins: [{item: "12", position: 1}]
    diversity: {method: dpp, default: 0.3}
    caps: {each: 3, categories: {Horror: 1}}
    calibration: 0.2
    exposure: {by: attributes.provider, weight: 0.2, targets: {a: 0.7, b: 0.3}}
    popularity_damping: 0.3
    novelty: 0.1
    serendipity: 0.1
    exploration: {method: thompson, amount: 0.1}
  cart: {}
"""
FAULTS = [
    ("surfaces:\n  home:\n    colour: red", 3, "surfaces.home.colour", "is not known here"),
    ("surfaces:\n  home:\n    filter: >\n      price <", 3, "surfaces.home.filter", "column 8: expected"),
    (
        "surfaces:\n  home:\n\n    boosts:\n      - when: seen\n        factor: -1",
        6,
        "surfaces.home.boosts.0.factor",
        "greater than 0",
    ),
    ("surfaces:\n  home:\n    boosts:\n      - {when: seen}", 4, "surfaces.home.boosts.0.factor", "Field required"),
    ("surfaces:\n  home:\n    pins: [{item: 12, position: 1}]", 3, "surfaces.home.pins.0.item", "valid string"),
    ("surfaces:\n  home:\n    exclude: {seen: soon}", 3, "surfaces.home.exclude.seen", "7d"),
    ("surfaces:\n  home:\n    exposure:\n      by: 1\n      weight: 1", 4, "surfaces.home.exposure.by", "string"),
    ("surfaces:\n  home:\n    exposure:\n      by: a b\n      weight: 1", 4, "surfaces.home.exposure.by", "column 3"),
    ("surfaces:\n  a: {}\n  a: {}", 3, "surfaces.a", "twice"),
    ("surfaces:\n  home:\n    pins:\n      - {item: a, position: 1}\n      - {item: b, position: 1}", 2, "surfaces.home", "twice"),
    ("surfaces:\n  home: !!python/object:os.system {}", 2, "surfaces.home", "tag"),
    ("surfaces:\n  home: [", 2, "", "not YAML"),
    ("surfaces:\n  \0", 2, "", "not YAML"),
    ("[" * 5000, 1, "", "not YAML"),
    ("surfaces: &a [*a]", 1, "surfaces.0", "deeper than"),
    ("surfaces: {? [a] : 1}", 1, "surfaces", "must be a text"),
    ("surfaces: " + " " * MAX_CHARACTERS, 1, "", "at most"),
    ("", 1, "surfaces", "required"),
]


def test_a_file_with_everything_is_read() -> None:
    home = parse_surfaces(WHOLE).surfaces["home"]
    assert (home.sources.trending, home.sources.affinity, home.exclude.seen, home.exclude.bought) == (0, 2, 90 * 60_000, 0)
    assert home.exclude.hidden is None
    assert not home.neutral
    assert parse_surfaces(WHOLE).surfaces["cart"].neutral


def test_the_default_is_for_names_that_nobody_knows() -> None:
    named = parse_surfaces("surfaces: {home: {novelty: 1}, default: {novelty: 0.5}}").named
    assert [named(name)[0] for name in ("home", "elsewhere", None)] == ["home", "default", "default"]
    assert NO_SURFACES.named("home") == ("default", BUILT_IN)


@pytest.mark.parametrize(("text", "line", "where", "said"), FAULTS)
def test_a_fault_has_its_line(text: str, line: int, where: str, said: str) -> None:
    with pytest.raises(InvalidSurfaces) as refused:
        parse_surfaces(text)
    fault = refused.value.faults[0]
    assert fault.line == line
    assert fault.where.startswith(where)
    assert said in fault.message


def test_all_faults_are_told_at_once_by_line() -> None:
    with pytest.raises(InvalidSurfaces) as refused:
        parse_surfaces("surfaces:\n  b: {novelty: 2}\n  a: {novelty: 3, what: 1}")
    assert [fault.line for fault in refused.value.faults] == [2, 3, 3]


# --- at the start and while it runs


def test_a_wrong_file_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "surfaces.yaml"
    file.write_text("surfaces:\n  home:\n    novelty: 7\n")
    with pytest.raises(InvalidSettings, match=r"surfaces.yaml: line 3: surfaces.home.novelty: .* less than or equal to 1"):
        create_app(Settings(surfaces=file))
    with pytest.raises(InvalidSettings, match="cannot be read"):
        create_app(Settings(surfaces=tmp_path / "nowhere.yaml"))


def test_a_changed_file_is_put_in_force_and_a_broken_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, metrics = tmp_path / "surfaces.yaml", Metrics()
    file.write_text("surfaces: {home: {novelty: 0.1}}")
    watch = SurfaceWatch(file, metrics, OwnSources((), {}, metrics))
    assert not watch.refresh()
    rewrite(file, "surfaces: {home: {novelty: 0.25}}")
    assert watch.refresh()
    assert watch.current.surfaces["home"].novelty == 0.25
    rewrite(file, "surfaces: {home: {novelty: 9}}")
    assert not watch.refresh()
    assert not watch.refresh()  # told once
    assert watch.current.surfaces["home"].novelty == 0.25
    assert "line 1: surfaces.home.novelty" in caplog.text
    assert b"freshet_surfaces_refused_total 1.0" in metrics.text()
    file.unlink()
    assert not watch.refresh()
    assert b"freshet_surfaces_refused_total 2.0" in metrics.text()
    rewrite(file, "surfaces: {}")
    assert watch.refresh()
    assert watch.current.surfaces == {}


def rewrite(file: Path, text: str) -> None:
    """As an editor does: another file in its place."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.replace(file)


async def test_a_running_api_serves_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "surfaces.yaml"
    file.write_text("""surfaces: {home: {filter: '"Comedy" in categories'}}""")
    world = cinema()
    services = world.services(SETTINGS.model_copy(update={"surfaces": file}))
    async with world.client(services=services) as client:
        shown = (await client.get("/v1/users/ann/recommendations", params={"surface": "home", "k": 8})).json()
        assert set(ids(shown)) == set("5678")
        rewrite(file, """surfaces: {home: {filter: '"Horror" in categories'}}""")
        services.surfaces.refresh()
        shown = (await client.get("/v1/users/ann/recommendations", params={"surface": "home", "k": 8})).json()
        assert set(ids(shown)) == set("234")


# --- the command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"})


def test_the_command_says_what_each_surface_does(tmp_path: Path) -> None:
    file = tmp_path / "surfaces.yaml"
    file.write_text(WHOLE)
    shown = run("config", "check", str(file))
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == "home"
    assert lines[-2:] == ["cart", "  as built in"]
    for line in (
        "source trending: off", "seen items: shown again after 90m", "bought items: shown again at once",
        "wish 1, cheap: price < 10",
        'score times 2 where: "comedy" in categories', "item 12 in place 1", "at most 1 items of Horror", "novelty: weight 0.1",
        "exposure by attributes.provider: weight 0.2, a 0.7, b 0.3", "items need in their attributes: attributes.provider, brand",
    ):  # fmt: skip
        assert f"  {line}" in lines
    told = json.loads(run("config", "check", str(file), "--json").stdout)
    assert told["surfaces"]["cart"] == {"does": ["as built in"], "attributes": []}


def test_every_setting_of_a_surface_shows_in_its_summary() -> None:
    whole = parse_surfaces(WHOLE).surfaces["home"]
    assert custom_attributes(whole) == ["attributes.provider", "brand"]
    for name in type(whole).model_fields:
        without = whole.model_copy(update={name: getattr(BUILT_IN, name)})
        assert len(summary(without)) < len(summary(whole)), name


def test_every_switch_of_a_source_shows_in_its_summary() -> None:
    for name, others in Sources.model_fields.items():
        value = {"online": {"session_knn": False}, "published": {"ease": False}, "own": {"editors": 0.5}}.get(name, False)
        (line,) = summary(Surface(sources=Sources.model_validate({name: value})))
        assert others is not None and (name if value is False else next(iter(value))) in line


def test_the_page_shows_a_file_and_what_the_command_says_of_it(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "serving.md").read_text(encoding="utf-8")
    (tmp_path / "home.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    shown = run("config", "check", str(tmp_path / "home.yaml"))
    assert f"$ freshet config check home.yaml\n{shown.stdout}```" in page


def test_the_command_names_faults_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "surfaces.yaml"
    file.write_text("surfaces:\n  home:\n    filter: price <\n    novelty: 2\n")
    shown = run("config", "check", str(file), "--json")
    assert shown.exit_code == 2
    assert [fault["line"] for fault in json.loads(shown.stdout)["faults"]] == [3, 4]
    assert f"{file}: line 3: surfaces.home.filter: column 8: expected" in shown.stderr
    assert run("config", "check", str(tmp_path / "nowhere")).exit_code == 2
