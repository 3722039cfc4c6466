"""The JavaScript client's own tests, run by Node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from serving.app import create_app
from tests.test_serving_world import SETTINGS, World

FOLDER = Path(__file__).resolve().parents[1] / "clients" / "javascript"


def why_no_node() -> str | None:
    """Why Node cannot run the tests here; None if it can."""
    node = shutil.which("node")
    if node is None:
        return "no node on the PATH: the JavaScript client is not tested"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)", version)
    return None if found and int(found[1]) >= 18 else f"node is {version.strip() or 'broken'}; 18 or later is needed"


needs_node = pytest.mark.skipif(why_no_node() is not None, reason=why_no_node() or "")


def run_node(*arguments: str, **environment: str) -> str:
    """What Node printed; fails with it where it failed."""
    done = subprocess.run(
        ["node", *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=FOLDER, env=os.environ | environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_node
def test_the_javascript_client_alone() -> None:
    shown = run_node("--test", "--test-reporter=tap", "tests/freshet.test.mjs")
    found = re.search(r"^# pass (\d+)$", shown, re.MULTILINE)
    assert found, shown
    assert int(found[1]) >= 25


def test_the_example_page_uses_what_the_module_has() -> None:
    page, module = (FOLDER / "example.html").read_text(), (FOLDER / "freshet.js").read_text()
    used = set(re.findall(r"\b[Ff]reshet\.(\w+)\(", page))
    assert {"recommendations", "click", "hide", "flush", "visitorId"} <= used
    assert [name for name in used if not re.search(rf"^  (static |async )?{name}\(|\*/ {name}\(", module, re.MULTILINE)] == []


def test_the_module_needs_nothing_and_stays_small() -> None:
    text = (FOLDER / "freshet.js").read_text()
    assert not re.search(r"^\s*import\b|require\(", text, re.MULTILINE)
    assert len(text.splitlines()) < 300


async def test_the_api_takes_what_pages_of_an_allowed_origin_send() -> None:
    """A browser's preflight, its request, and its beacon, which comes without a preflight; and those of another origin's page."""
    world, shop = World(), "https://shop.example"
    app = create_app(SETTINGS.model_copy(update={"cors_origins": shop}), world.services())
    event = {"type": "view", "user_id": "1", "item_id": "a"}
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as page:
        for origin, preflight, status in ((shop, 200, 202), ("https://other.example", 400, 403)):
            from_page = {"origin": origin, "sec-fetch-site": "cross-site"}
            assert (await page.options("/v1/events", headers={**from_page, **asks})).status_code == preflight
            sent = await page.post("/v1/events", json=event, headers=from_page)
            beacon = await page.post("/v1/events", json=event, headers={**from_page, "content-type": "text/plain"})
            assert (sent.status_code, beacon.status_code) == (status, status)
            assert (sent.headers.get("access-control-allow-origin") == origin) == (status == 202)
    assert len(world.log.records) == 2
