#!/usr/bin/env python3
"""A Telegram Bot API that only listens: runs on a lab host, appends each call to a file as a JSON line.

usage: fake_telegram.py PORT FILE [STATUS]   (with STATUS, e.g. 500, every call is refused with it)
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs


class Api(BaseHTTPRequestHandler):
    """Answers sendMessage as Telegram does."""

    def do_POST(self) -> None:  # noqa: N802  (the name that http.server wants)
        """Keep the call, and answer it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if "json" in self.headers.get("Content-Type", ""):
            fields = json.loads(body)
        else:
            fields = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        with Path(sys.argv[2]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"path": self.path, **fields}) + "\n")
        status = int(sys.argv[3]) if len(sys.argv) > 3 else 200
        chat = {"id": 42, "type": "private"}
        answer = {"ok": True, "result": {"message_id": 1, "date": 0, "chat": chat, "text": fields.get("text", "")}}
        if status != 200:
            answer = {"ok": False, "error_code": status, "description": "refused by the fake"}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay quiet."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Api).serve_forever()
