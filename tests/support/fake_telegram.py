#!/usr/bin/env python3
"""A Telegram Bot API that only listens: keeps each call, and answers as it is told to.

As a program on a lab host, which appends each call to a file as a JSON line:
usage: fake_telegram.py PORT FILE [ANSWER]   (ANSWER: 200, or a status such as 500 with which every call is refused;
429:SECONDS says when to try again; hang never answers)
In a test: `with fake_telegram() as telegram`, then `telegram.answer = "429:900"`, `telegram.texts`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs


class FakeTelegram(ThreadingHTTPServer):
    """The server; `answer` may be changed while it runs. `calls` are what it accepted, `refused` counts others."""

    daemon_threads = True

    def __init__(self, port: int, keep: Callable[[dict[str, Any]], None] | None = None, answer: str = "200") -> None:
        super().__init__(("127.0.0.1", port), Api)
        self.answer = answer
        self.calls: list[dict[str, Any]] = []
        self.refused = 0
        self.stopped = threading.Event()
        self._keep = keep

    @property
    def url(self) -> str:
        """What a configuration has as api_url."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def texts(self) -> list[str]:
        """The messages that were accepted."""
        return [call["text"] for call in self.calls]

    def took(self, call: dict[str, Any], status: int) -> None:
        """Remember a call."""
        if status == 200:
            self.calls.append(call)
        else:
            self.refused += 1
        if self._keep is not None:
            self._keep(call)


class Api(BaseHTTPRequestHandler):
    """Answers sendMessage as Telegram does."""

    def do_POST(self) -> None:  # noqa: N802  (the name that http.server wants)
        """Keep the call, and answer it."""
        server = cast(FakeTelegram, self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if "json" in self.headers.get("Content-Type", ""):
            fields = json.loads(body)
        else:
            fields = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        word, _, seconds = server.answer.partition(":")
        status = 0 if word == "hang" else int(word)
        server.took({"path": self.path, **fields}, status)
        if status == 0:
            server.stopped.wait()
            return
        chat = {"id": 42, "type": "private"}
        answer: dict[str, Any] = {
            "ok": True,
            "result": {"message_id": 1, "date": 0, "chat": chat, "text": fields.get("text", "")},
        }
        if status != 200:
            answer = {"ok": False, "error_code": status, "description": "refused by the fake"}
        if seconds:
            answer["parameters"] = {"retry_after": int(seconds)}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay quiet."""


@contextlib.contextmanager
def fake_telegram() -> Iterator[FakeTelegram]:
    """A server on a free port, for as long as the block runs."""
    server = FakeTelegram(0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


def append_to(path: Path) -> Callable[[dict[str, Any]], None]:
    """A keeper of calls in a file."""

    def keep(call: dict[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(call) + "\n")

    return keep


if __name__ == "__main__":
    how = sys.argv[3] if len(sys.argv) > 3 else "200"
    FakeTelegram(int(sys.argv[1]), append_to(Path(sys.argv[2])), how).serve_forever()
