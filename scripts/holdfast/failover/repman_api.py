"""Replication Manager's API on loopback: plain HTTP there, as its certificate is made by itself and proves nothing."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from holdfast.errors import ConfigurationError, ToolError
from holdfast.failover.repman import Seen, seen_of

ADDRESS = "127.0.0.1"
PORT = 10001
CALL_SECONDS = 10.0
# The call of a switchover returns when it is over, and its pre-script never returns where it was refused.
SWITCHOVER_SECONDS = 180.0


class ApiError(ToolError):
    """The API does not answer, or refuses."""


class Api:
    """One cluster; logs in at the first call. Every method raises ApiError."""

    def __init__(self, cluster: str, account_file: Path, *, port: int = PORT) -> None:
        """`account_file` holds user:password. Raises ConfigurationError when it cannot be read."""
        try:
            self._user, _, self._password = account_file.read_text(encoding="utf-8").strip().partition(":")
        except OSError as error:
            raise ConfigurationError(
                f"{account_file}: cannot be read: {error.strerror}",
                remedy="The role replication_manager writes it; run playbooks/failover.yml.",
            ) from None
        self._base = f"http://{ADDRESS}:{port}/api"
        self._cluster = urllib.parse.quote(cluster, safe="")
        self._token = ""

    def look(self) -> Seen:
        """What it says of the cluster now."""
        cluster = self._json("")
        servers = self._json("/topology/servers")
        if not isinstance(cluster, dict) or not isinstance(servers, list):
            raise ApiError("Replication Manager's API answers something else than a cluster and its servers")
        try:
            return seen_of(cluster, servers)
        except (AttributeError, TypeError, ValueError) as error:
            raise ApiError(f"Replication Manager's API answers in another form than it did: {error}") from None

    def set_automatic(self, wanted: bool) -> bool:
        """Make it fail over by itself, or not; whether that changed anything."""
        if self.look().automatic == wanted:
            return False
        # There is no call that sets it, only one that turns it round.
        self._call("/settings/actions/switch/failover-mode")
        if self.look().automatic != wanted:
            raise ApiError(f"Replication Manager did not become {'automatic' if wanted else 'manual'}")
        return True

    def switch_over(self) -> None:
        """Have primary and replica change places; returns when Replication Manager is done with it."""
        self._call("/actions/switchover", form={}, timeout_seconds=SWITCHOVER_SECONDS)

    def reset_failover_counter(self) -> None:
        """Let it act again after its limit of failovers."""
        self._call("/actions/reset-failover-control")

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self._call(path))
        except ValueError:
            raise ApiError(f"Replication Manager's API does not answer {path or '/'} with JSON") from None

    def _call(self, path: str, *, form: dict[str, str] | None = None, timeout_seconds: float = CALL_SECONDS) -> bytes:
        if not self._token:
            account = json.dumps({"username": self._user, "password": self._password}).encode()
            answer = self._send("/login", account, {}, CALL_SECONDS)
            try:
                self._token = str(json.loads(answer)["token"])
            except (ValueError, KeyError, TypeError):
                raise ApiError("Replication Manager's API did not take the login") from None
        data = None if form is None else urllib.parse.urlencode(form).encode()
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._send(f"/clusters/{self._cluster}{path}", data, headers, timeout_seconds)

    def _send(self, path: str, data: bytes | None, headers: dict[str, str], timeout_seconds: float) -> bytes:
        request = urllib.request.Request(self._base + path, data=data, headers=headers)  # noqa: S310 - loopback, http
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            raise ApiError(f"Replication Manager's API refuses {path}: {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"Replication Manager's API does not answer {path}: {error}") from None
