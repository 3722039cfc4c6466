"""A candidate source of your own: what editors picked, over HTTP or called by the API itself.

    python examples/own_source.py 9000 picks.txt          # POST http://127.0.0.1:9000/ answers the ids in picks.txt, one a line
    FRESHET_SOURCE_HOSTS=127.0.0.1:9000 freshet config check --ask examples/own_source.yaml

In Python, without a server: `editors: {python: "own_source:picks"}` in the surfaces file, this folder on PYTHONPATH, and the file
of ids in PICKS.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def picks(question: dict[str, Any]) -> list[str]:
    """The picks, best first, without what the visitor took a moment ago. Whoever asks drops what the person has had before."""
    ids = Path(os.environ.get("PICKS", "picks.txt")).read_text(encoding="utf-8").split()
    return [item for item in ids if item not in question["recent_items"]][: question["max_items"]]


class Editors(BaseHTTPRequestHandler):
    """Answers each POST with a JSON list; connections stay open for the next one."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it would hold the answer back for 40 ms behind its headers

    def do_POST(self) -> None:
        """Answer one question."""
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps(picks(question)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - likewise
        """Say nothing: it is asked for every page view."""


if __name__ == "__main__":
    port, os.environ["PICKS"] = int(sys.argv[1]), sys.argv[2]
    with ThreadingHTTPServer(("127.0.0.1", port), Editors) as server:
        print(f"picks of {sys.argv[2]} at http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()
