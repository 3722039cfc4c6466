"""The examples of docs/clients.md, run on real servers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from tests.live import Live, event
from tests.test_client_javascript import FOLDER, needs_node, run_node

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
JAVASCRIPT = re.findall(r"^```javascript\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
EXPECTED = [
    [r"^1 \S+ Film \d .+$"],
    [r"^2 \[\(2, 'invalid'\)\]$", r"^\['\d'.*\] \(.*\) \{'nearline'", r"^404 nothing is known of item 'nobody knows it'$"],
    [r"^\['\d'.*\] \['\d'.*\]$"],
    [r"^all sent: True Counts\(accepted=3, rejected=0, waiting=0\)$"],
]


@pytest.fixture(scope="module")
def api(live: Live) -> str:
    """An API over nine films that people watched."""
    now = int(time.time() * 1000) - 60_000
    live.produce(
        [("items", str(n), orjson.dumps({"item_id": str(n), "title": f"Film {n}", "price": 5.0 * n})) for n in range(1, 10)]
    )
    live.produce([("clicks", f"u{u}", event(f"u{u}", str((u + n) % 9 + 1), now + u * 10 + n)) for u in range(30) for n in range(4)])
    live.worker()
    url = live.api()
    live.settle()
    return url


def test_the_page_has_examples() -> None:
    assert (len(PYTHON), len(JAVASCRIPT)) == (len(EXPECTED), 1)


@pytest.mark.parametrize("at", range(len(EXPECTED)))
def test_python_examples_run_and_print_what_they_should(api: str, at: int, tmp_path: Path) -> None:
    program = PYTHON[at].replace("http://localhost:8000", api)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in EXPECTED[at]:
        assert re.search(line, done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("at", range(len(EXPECTED)))
def test_python_examples_are_typed(at: int, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(PYTHON[at])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={ROOT / '.mypy_cache' / 'examples'}",
         "example.py"],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env={"MYPYPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@needs_node
def test_javascript_examples_run(api: str, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(FOLDER / "freshet.js", tmp_path)
    (tmp_path / "example.js").write_text(JAVASCRIPT[0].replace("http://localhost:8000", api))
    shown = run_node(str(tmp_path / "example.js"))
    assert "1 Film" in shown
    assert "true 0" in shown


@needs_node
def test_the_javascript_client_on_real_servers(api: str) -> None:
    shown = run_node("--test", "--test-reporter=tap", "tests/live.test.mjs", FRESHET_URL=api)
    assert re.search(r"^# pass 4$", shown, re.MULTILINE), shown
    assert re.search(r"^# skipped 0$", shown, re.MULTILINE), shown
