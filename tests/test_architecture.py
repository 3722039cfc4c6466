"""The rules of the tree: which package may import which, what pure code must not touch, which hand-kept lists must be complete."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typer.testing import CliRunner

from ops.cli import app
from ops.stack.install import VERSION
from schemas.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
CORE = ("schemas", "feature_store")
PURE = (
    "schemas", "stream_workers.models", "stream_workers.handlers", "serving.filters", "serving.ranking", "batch.models",
    "evaluation",
)  # fmt: skip
MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    "schemas": (),
    "feature_store": ("schemas",),
    "stream_workers": CORE,
    "serving": (*CORE, "stream_workers.models"),  # the learner's own ranking code, see docs/adr/0008; nothing else of it
    "batch": (*CORE, "stream_workers.models", "evaluation"),
    "evaluation": (*CORE, "stream_workers.models", "stream_workers.handlers", "serving.ranking"),
    "ops": (*CORE, "stream_workers", "serving", "batch", "evaluation"),
    "freshet_client": (),  # goes where Freshet itself is not installed: nothing of ours, and nothing imports it
}
CLIENT_NEEDS = {"httpx"}  # and the standard library
BESIDE = ("tests", "benchmarks", "examples")  # may import everything, nobody imports them
SERVERS = {
    "kafka", "aiokafka", "aiohttp", "confluent_kafka", "faust", "redis", "fastapi", "starlette", "uvicorn", "httpx", "requests",
}  # fmt: skip
SYSTEM = {"os", "socket", "subprocess", "time", "asyncio", "threading", "random", "secrets"}
CLOCKS = {"now", "utcnow", "today", "date.today"}  # of datetime, with or without the module before it
UNSEEDED = re.compile(r"(np|numpy)\.random\.(?!default_rng$|default_rng\([^)]|Generator)")
COMMANDS = ("topics", "worker", "api", "replay", "verify", "demo", "up", "down", "status", "evaluate", "tune",
            "lake", "batch", "models")  # fmt: skip


class Module(NamedTuple):
    """One file: where it is, what it imports and what it calls (name, line)."""

    path: Path
    imports: list[tuple[str, int]]
    calls: list[tuple[str, int]]


def read_modules(root: Path) -> dict[str, Module]:
    """All modules of the packages of MAY_IMPORT below root, by dotted name."""
    found = {}
    for path in sorted(path for package in MAY_IMPORT for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [(called(node), node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        found[name] = Module(path.relative_to(root), list(imported(tree, parts[:-1])), calls)
    return found


def imported(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Dotted names and lines of all imports, wherever they stand; `from a import b` gives `a.b`, which may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            yield from ((f"{origin}.{alias.name}", node.lineno) for alias in node.names)


def called(node: ast.Call) -> str:
    """The function's name as written; `default_rng()` without a seed is told from one with."""
    name = ast.unparse(node.func)
    return name if node.args or node.keywords else f"{name}()"


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether the dotted name is one of the packages or in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def wrong_directions(modules: Mapping[str, Module]) -> list[str]:
    """Imports against the arrows."""
    ours = (*MAY_IMPORT, *BESIDE)
    return [
        f"{module.path}:{line} imports {target}; {own} may import only {', '.join(MAY_IMPORT[own]) or 'itself'}"
        for name, module in modules.items()
        for own in [name.partition(".")[0]]
        for target, line in module.imports
        if within(target, ours) and not within(target, (own, *MAY_IMPORT[own]))
    ]


def impurities(modules: Mapping[str, Module]) -> list[str]:
    """What pure modules import, directly or through other modules of ours, or call, although it touches the world."""
    found = []
    for name in (name for name in modules if within(name, PURE)):
        found += [f"{name}: reaches {' -> '.join(chain)}" for chain in chains_out(modules, name)]
        for call, line in modules[name].calls:
            if call.removesuffix("()").removeprefix("datetime.").removeprefix("datetime.") in CLOCKS:
                found.append(f"{modules[name].path}:{line} reads the clock: {call}")
            if UNSEEDED.match(call):
                found.append(f"{modules[name].path}:{line} draws from an unseeded generator: {call}")
    return found


def chains_out(modules: Mapping[str, Module], start: str) -> Iterator[tuple[str, ...]]:
    """For each forbidden module that can be reached by imports from `start`: the way there."""
    waiting: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while waiting:
        chain = waiting.pop()
        for target in [name for name, _ in modules[chain[-1]].imports]:
            if target.partition(".")[0] in SERVERS | SYSTEM:
                yield (*chain, target)
            parts = target.split(".")
            for module in (".".join(parts[: end + 1]) for end in range(len(parts))):  # importing a.b runs a too
                if module in modules and module not in seen:
                    seen.add(module)
                    waiting.append((*chain, module))


def write_tree(root: Path, files: Mapping[str, str]) -> dict[str, Module]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_modules(root)


def test_imports_point_one_way() -> None:
    modules = read_modules(ROOT)
    assert {name.partition(".")[0] for name in modules} >= MAY_IMPORT.keys()
    assert wrong_directions(modules) == []


def foreign(modules: Mapping[str, Module], package: str) -> set[str]:
    """Packages that a package imports and that are neither its own nor Python's."""
    named = {
        target.partition(".")[0] for name, module in modules.items() if within(name, (package,)) for target, _ in module.imports
    }
    return named - {package} - sys.stdlib_module_names


def test_the_client_needs_httpx_and_nothing_else() -> None:
    assert foreign(read_modules(ROOT), "freshet_client") == CLIENT_NEEDS


def test_pure_modules_touch_no_server_clock_or_environment() -> None:
    assert impurities(read_modules(ROOT)) == []


@pytest.mark.parametrize(
    ("file", "text", "culprit"),
    [
        ("schemas/a.py", "import feature_store.keys", "feature_store.keys"),
        ("feature_store/a.py", "from serving import app", "serving.app"),
        ("stream_workers/a.py", "def f():\n    from serving.ranking import fusion", "serving.ranking.fusion"),
        ("serving/a.py", "import batch", "batch"),
        ("serving/a.py", "from stream_workers.handlers import user_stage", "stream_workers.handlers.user_stage"),
        ("serving/a.py", "import stream_workers", "stream_workers"),
        ("serving/a.py", "from stream_workers.models_of_mine import x", "stream_workers.models_of_mine.x"),
        ("batch/a.py", "from stream_workers.handlers import user_stage", "stream_workers.handlers.user_stage"),
        ("evaluation/a.py", "import batch.models", "batch.models"),
        ("serving/b/a.py", "from ...ops import cli", "ops.cli"),
        ("evaluation/a.py", "import stream_workers.app", "stream_workers.app"),
        ("ops/a.py", "from tests import oracle", "tests.oracle"),
        ("ops/a.py", "import benchmarks", "benchmarks"),
        ("freshet_client/a.py", "from schemas.events import TYPE_NAMES", "schemas.events.TYPE_NAMES"),
        ("serving/a.py", "import freshet_client", "freshet_client"),
    ],
)
def test_the_checker_sees_an_import_against_the_arrows(tmp_path: Path, file: str, text: str, culprit: str) -> None:
    (found,) = wrong_directions(write_tree(tmp_path, {file: text}))
    assert file in found
    assert f"imports {culprit};" in found


def test_the_checker_lets_imports_along_the_arrows_pass(tmp_path: Path) -> None:
    files = {
        "schemas/a.py": "from schemas import b\nimport pydantic",
        "serving/a.py": "from feature_store import keys\nfrom . import b\nfrom .ranking import fusion",
        "serving/c.py": "from stream_workers.models.online.bank import ModelBank\nfrom stream_workers.models import history",
        "evaluation/a.py": "from stream_workers.models import history",
        "ops/a.py": "import serving.app, stream_workers.app",
        "serving/operations.py": "import opsgenie, testscenarios",
    }
    assert wrong_directions(write_tree(tmp_path, files)) == []


@pytest.mark.parametrize("culprit", sorted(SERVERS | SYSTEM))
def test_the_checker_sees_what_pure_code_must_not_import(tmp_path: Path, culprit: str) -> None:
    direct = write_tree(tmp_path, {"stream_workers/models/a.py": f"def f():\n    from {culprit} import x"})
    assert impurities(direct) == [f"stream_workers.models.a: reaches stream_workers.models.a -> {culprit}.x"]


def test_the_checker_follows_imports_to_what_is_not_pure(tmp_path: Path) -> None:
    files = {
        "serving/ranking/a.py": "from feature_store.blob import pack",
        "feature_store/blob.py": "from feature_store import store",
        "feature_store/store.py": "import redis.asyncio as redis",
    }
    way = "serving.ranking.a -> feature_store.blob -> feature_store.store -> redis.asyncio"
    assert impurities(write_tree(tmp_path, files)) == [f"serving.ranking.a: reaches {way}"]


def test_the_checker_sees_the_package_that_an_import_runs(tmp_path: Path) -> None:
    files = {
        "schemas/a.py": "from feature_store import keys",
        "feature_store/__init__.py": "import os",
        "feature_store/keys.py": "",
    }
    assert impurities(write_tree(tmp_path, files)) == ["schemas.a: reaches schemas.a -> feature_store -> os"]


@pytest.mark.parametrize(
    "call", ["datetime.now(UTC)", "datetime.datetime.now()", "date.today()", "np.random.rand(3)", "np.random.default_rng()"]
)
def test_the_checker_sees_clocks_and_dice_in_pure_code(tmp_path: Path, call: str) -> None:
    assert len(impurities(write_tree(tmp_path, {"batch/models/a.py": f"x = {call}"}))) == 1


def test_the_checker_lets_seeded_generators_and_other_modules_pass(tmp_path: Path) -> None:
    files = {"batch/models/a.py": "x = np.random.default_rng(7).permutation(3)", "batch/train.py": "import os\nx = datetime.now()"}
    assert impurities(write_tree(tmp_path, files)) == []


def test_every_package_is_listed_in_pyproject() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")}
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in folders)
    assert [package for package in listed if not (ROOT / package.replace(".", "/") / "__init__.py").is_file()] == []


def example_variables() -> dict[str, tuple[str, str]]:
    """Name to (default, description) of .env.example."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return {name: (default, about) for about, name, default in re.findall(r"^# (.+)\n#(FRESHET_\w+)=(.*)$", text, re.MULTILINE)}


def test_env_example_has_every_setting_with_its_default_and_description() -> None:
    told = example_variables()
    fields = Settings.model_fields.items()
    wanted = {
        f"{PREFIX}{name.upper()}": ("" if field.default is None else str(field.default), field.description)
        for name, field in fields
    }
    assert {name: told.get(name) for name in wanted} == wanted


def test_env_example_has_every_variable_that_the_code_and_compose_name() -> None:
    files = [*(ROOT / module.path for module in read_modules(ROOT).values()), ROOT / "docker-compose.yml"]
    named = {name for file in files for name in re.findall(r"\bFRESHET_[A-Z_]*[A-Z]\b", file.read_text(encoding="utf-8"))}
    assert {"FRESHET_STACK", "FRESHET_CACHE"} <= named <= example_variables().keys()


def compose_services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    return services


def test_compose_hands_every_setting_to_the_containers() -> None:
    services = compose_services()
    only_outside = {"home", "data", "api_host", "api_port"}
    of_api = (
        "API_PROCESSES",
        "API_KEYS",
        "API_KEYS_FILE",
        "SOURCE_HOSTS",
        "SOURCE_TOKENS",
        "RATE_LIMIT",
        "RATE_BURST",
        "CONCURRENCY",
        "QUEUE_MS",
        "CORS_ORIGINS",
    )
    only_api = {f"{PREFIX}{name}" for name in of_api}
    wanted = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields.keys() - only_outside}
    assert wanted <= services["api"]["environment"].keys()
    for service in ("topics", "worker"):
        given = services[service]["environment"].keys()
        assert wanted - only_api <= given, service
        assert not any(name.endswith(("_KEYS", "_KEYS_FILE", "_TOKENS")) for name in given), "keys go where they are asked for"


def test_compose_and_native_stack_run_the_same_kafka() -> None:
    assert compose_services()["kafka"]["image"] == f"apache/kafka:{VERSION}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_command_of_the_contract(name: str) -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert re.search(rf"^\W*{name}\s{{2,}}\S", shown.output, re.MULTILINE)
