"""Hetzner Robot: takes a host's power away when nothing on it answers any more.

The web service takes three wrong passwords from an address in ten minutes and fifty resets in an hour, so nothing here
is repeated but the question whether the host is off. Source: Hetzner, Robot Webservice, "Reset".
"""

from __future__ import annotations

import base64
import configparser
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from holdfast.errors import ConfigurationError, ToolError
from holdfast.failover.parties import Clock

POLL_SECONDS = 1.0
ANSWER_BYTES = 65536
LONG_PRESS = "power_long"  # the power button, held: off
CYCLE = "hw"  # off and on again: the server that boots is read-only
OFF_WORDS = ("off", "shut off", "stopped", "powered off")


class RobotError(ToolError):
    """Robot refused, could not be reached, or did not confirm that the host is off."""


class Robot:
    """The reset interface. `account_file` is an option file, 0600, with user and password in [client]."""

    def __init__(self, api_url: str, account_file: Path, servers: Sequence[str], clock: Clock | None = None) -> None:
        self._url = api_url.rstrip("/")
        self._account_file = account_file
        self._numbers = dict(pair.split("=", 1) for pair in servers)
        self._clock = clock or Clock()
        if urlsplit(api_url).scheme != "https" and urlsplit(api_url).hostname not in ("127.0.0.1", "localhost"):
            raise ConfigurationError(f"failover.robot.api_url: {api_url!r} is not https, and it gets a password")

    def knows(self, host: str) -> bool:
        """Whether the configuration has this host's server number."""
        return host in self._numbers

    def switch_off(self, host: str, timeout_seconds: float) -> str:
        """Take a host's power away, and wait until that is certain; how it was confirmed.

        Where Robot tells the state, the button is held until it says off. Where it does not, the host is power-cycled:
        every process has ended then, and MySQL boots read-only. Raises RobotError, ConfigurationError.
        """
        deadline = self._clock.now() + timeout_seconds
        number = self._numbers.get(host)
        if number is None:
            raise RobotError(f"Robot: no server number of {host} is configured")
        found = self._call("GET", number, None, deadline)
        offered, state = found.get("type"), found.get("operating_status")
        if state in OFF_WORDS:
            return f"Robot says that {host} is off already"
        if not isinstance(offered, list) or not all(isinstance(word, str) for word in offered):
            raise RobotError(f"Robot: type: is {str(offered)[:80]!r}, a list of kinds of reset was expected")
        if LONG_PRESS in offered and isinstance(state, str) and state != "not supported":
            self._call("POST", number, LONG_PRESS, deadline)
            return self._wait_until_off(host, number, deadline)
        if CYCLE not in offered:
            raise RobotError(
                f"Robot: {host} can only be reset by {', '.join(offered) or 'nothing'}, which proves nothing"
            )
        done = self._call("POST", number, CYCLE, deadline)
        if done.get("type") != CYCLE:
            raise RobotError(f"Robot: confirmed {str(done.get('type'))[:80]!r} instead of {CYCLE}")
        return f"Robot confirmed a hardware reset of {host}"

    def _wait_until_off(self, host: str, number: str, deadline: float) -> str:
        while True:
            state = self._call("GET", number, None, deadline).get("operating_status")
            if state in OFF_WORDS:
                return f"Robot says that {host} is {state}"
            if self._clock.now() + POLL_SECONDS >= deadline:
                raise RobotError(
                    f"Robot: {host} is still {str(state)[:80]!r} after its power button was held",
                    meaning="It may still run.",
                )
            self._clock.sleep(POLL_SECONDS)

    def _call(self, method: str, number: str, kind: str | None, deadline: float) -> Mapping[str, Any]:
        left = deadline - self._clock.now()
        if left <= 0:
            raise RobotError("Robot: no time is left for this step")
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
            f"{self._url}/reset/{number}",
            method=method,
            data=None if kind is None else urlencode({"type": kind}).encode(),
            headers={"Authorization": f"Basic {self._credentials()}", "Accept": "application/json"},
        )
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            _NoRedirect(),
            urllib.request.ProxyHandler({}),
        )
        try:
            with opener.open(request, timeout=left) as answer:
                text = answer.read(ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            raise RobotError(f"Robot: {method} /reset/{number}: {_refusal(error)}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise RobotError(f"Robot: {method} /reset/{number}: no answer: {reason}") from None
        try:
            document = json.loads(text)
            reset = document["reset"]
            told = str(reset["server_number"])
        except (ValueError, KeyError, TypeError):
            raise RobotError(f"Robot: {method} /reset/{number}: not the answer of a reset: {text[:80]!r}") from None
        if told != number:
            raise RobotError(f"Robot: asked for server {number}, it answered for {told}")
        return dict(reset)

    def _credentials(self) -> str:
        file = configparser.ConfigParser(interpolation=None)
        try:
            if self._account_file.stat().st_mode & 0o077:
                raise ConfigurationError(
                    f"{self._account_file}: others than its owner may read it", remedy=f"chmod 600 {self._account_file}"
                )
            file.read_string(self._account_file.read_text(encoding="utf-8"))
            user, password = file["client"]["user"], file["client"]["password"]
        except (OSError, configparser.Error, KeyError, UnicodeDecodeError) as error:
            # Not the error's own text, which may quote a line of the file.
            raise ConfigurationError(
                f"{self._account_file}: not an option file with user and password in [client] ({type(error).__name__})",
                remedy="The role mysql_failover writes it; run playbooks/failover.yml.",
            ) from None
        return base64.b64encode(f"{_bare(user)}:{_bare(password)}".encode()).decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A password does not follow to another address."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _bare(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"" else value


def _refusal(error: urllib.error.HTTPError) -> str:
    meaning = {
        401: "wrong user or password; three in a row lock this address out for ten minutes",
        403: "too many requests, or the account may not reset",
        404: "it does not know this server",
        409: "a reset is under way already",
        503: "closed for maintenance",
    }.get(error.code, "")
    return f"HTTP {error.code}{': ' + meaning if meaning else ''}"
