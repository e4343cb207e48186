"""Robot against a fake web service over HTTP: what is asked in which order, what counts as off, what is refused."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.failover.parties import Clock
from holdfast.failover.robot import Robot, RobotError


class FakeRobot:
    """A server that is switched off some questions after its button was held."""

    def __init__(self, httpserver: HTTPServer, *, kinds: Any, state: Any, off_after: int = 2) -> None:
        self.kinds, self.state, self.off_after = kinds, state, off_after
        self.asked: list[str] = []
        self.authorization = ""
        httpserver.expect_request("/reset/321").respond_with_handler(self.answer)

    def answer(self, request: Request) -> Response:
        self.authorization = str(request.authorization.username if request.authorization else "")
        kind = request.form.get("type", "")
        self.asked.append(f"{request.method} {kind}".strip())
        if self.asked.count("GET") > self.off_after and "POST power_long" in self.asked:
            self.state = "shut off"
        offered = kind or self.kinds
        reset = {"server_ip": "10.0.0.1", "server_number": 321, "type": offered, "operating_status": self.state}
        return Response(json.dumps({"reset": reset}), content_type="application/json")


@pytest.fixture
def account(tmp_path: Path) -> Path:
    path = tmp_path / "robot.cnf"
    path.write_text("[client]\nuser=#ws+abc\npassword='a%b;c'\n")
    path.chmod(0o600)
    return path


def robot(httpserver: HTTPServer, account: Path) -> Robot:
    return Robot(httpserver.url_for("/"), account, ("db1=321",), Clock(time.monotonic, lambda _: None))


def test_the_button_is_held_until_robot_says_off(httpserver: HTTPServer, account: Path) -> None:
    fake = FakeRobot(httpserver, kinds=["sw", "hw", "power", "power_long"], state="running")
    assert robot(httpserver, account).switch_off("db1", 30) == "Robot says that db1 is shut off"
    assert fake.asked == ["GET", "POST power_long", "GET", "GET"]
    assert fake.authorization == "#ws+abc"


def test_a_host_that_is_off_is_left_alone(httpserver: HTTPServer, account: Path) -> None:
    fake = FakeRobot(httpserver, kinds=["hw", "power_long"], state="shut off")
    assert "off already" in robot(httpserver, account).switch_off("db1", 30)
    assert fake.asked == ["GET"]


@pytest.mark.parametrize("state", ["not supported", None])
def test_without_a_state_the_host_is_power_cycled_once(httpserver: HTTPServer, account: Path, state: Any) -> None:
    fake = FakeRobot(httpserver, kinds=["sw", "hw", "power_long"], state=state)
    assert "confirmed a hardware reset" in robot(httpserver, account).switch_off("db1", 30)
    assert fake.asked == ["GET", "POST hw"]


def test_a_host_that_stays_on_is_not_off(httpserver: HTTPServer, account: Path) -> None:
    fake = FakeRobot(httpserver, kinds=["hw", "power_long"], state="running", off_after=10**6)
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    slow = Robot(httpserver.url_for("/"), account, ("db1=321",), Clock(lambda: now[0], sleep))
    with pytest.raises(RobotError, match="still 'running' after its power button was held"):
        slow.switch_off("db1", 10)
    assert fake.asked.count("POST power_long") == 1


@pytest.mark.parametrize("kinds", [["sw", "man"], [], "hw", None, [1]])
def test_what_proves_nothing_is_not_done(httpserver: HTTPServer, account: Path, kinds: Any) -> None:
    fake = FakeRobot(httpserver, kinds=kinds, state="running")
    with pytest.raises(RobotError, match="proves nothing|was expected"):
        robot(httpserver, account).switch_off("db1", 30)
    assert fake.asked == ["GET"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, "wrong user or password"),
        (403, "too many requests"),
        (404, "does not know"),
        (503, "maintenance"),
        (500, "500"),
    ],
)
def test_a_refusal_is_named_and_not_repeated(httpserver: HTTPServer, account: Path, status: int, text: str) -> None:
    httpserver.expect_request("/reset/321").respond_with_json({"error": {"status": status}}, status=status)
    with pytest.raises(RobotError, match=text) as caught:
        robot(httpserver, account).switch_off("db1", 30)
    assert "a%b;c" not in str(caught.value)
    assert len(httpserver.log) == 1


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", "{}", '{"reset": 3}', '{"reset": {"server_number": 999}}', "null"]
)
def test_garbage_is_not_a_confirmation(httpserver: HTTPServer, account: Path, body: str) -> None:
    httpserver.expect_request("/reset/321").respond_with_data(body, content_type="application/json")
    with pytest.raises(RobotError, match="not the answer of a reset|answered for 999"):
        robot(httpserver, account).switch_off("db1", 30)


def test_a_web_service_that_hangs_costs_its_time_limit(httpserver: HTTPServer, account: Path) -> None:
    over = threading.Event()

    def hang(_: Request) -> Response:
        over.wait(60)
        return Response("{}")

    httpserver.expect_request("/reset/321").respond_with_handler(hang)
    began = time.monotonic()
    with pytest.raises(RobotError, match="no answer"):
        robot(httpserver, account).switch_off("db1", 0.3)
    assert time.monotonic() - began < 1.2
    over.set()


def test_nobody_listens(account: Path) -> None:
    with pytest.raises(RobotError, match="no answer"):
        Robot("http://127.0.0.1:9", account, ("db1=321",)).switch_off("db1", 2)


def test_a_password_does_not_follow_a_redirect(httpserver: HTTPServer, account: Path) -> None:
    headers = {"Location": httpserver.url_for("/other")}
    httpserver.expect_request("/reset/321").respond_with_data("", status=302, headers=headers)
    with pytest.raises(RobotError, match="HTTP 302"):
        robot(httpserver, account).switch_off("db1", 5)
    assert "/other" not in [entry[0].path for entry in httpserver.log]


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        ("[client]\nuser=u\npassword=secret\n", 0o644, "others than its owner may read it"),
        ("[client]\nuser=u\n", 0o600, "not an option file"),
        ("secret without section\n", 0o600, "not an option file"),
        (None, 0o600, "not an option file"),
    ],
)
def test_a_bad_account_file_is_named_without_its_content(
    httpserver: HTTPServer, tmp_path: Path, content: str | None, mode: int, text: str
) -> None:
    path = tmp_path / "robot.cnf"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(ConfigurationError, match=text) as caught:
        robot(httpserver, path).switch_off("db1", 5)
    assert "secret" not in str(caught.value)


def test_an_unknown_host_and_an_address_without_tls_are_refused(account: Path) -> None:
    with pytest.raises(HoldfastError, match="no server number of db9"):
        Robot("https://robot.example", account, ("db1=321",)).switch_off("db9", 5)
    with pytest.raises(ConfigurationError, match="not https"):
        Robot("http://robot.example", account, ())
