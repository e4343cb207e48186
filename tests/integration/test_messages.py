"""What people are told by Telegram, word for word, and what happens when Telegram itself is down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import hosts
from support.hosts import Host, wait_until
from support.site import Site

PORT = 18081
TOKEN = "123456:test-token-of-the-fake"
FAKE = Path(hosts.__file__).with_name("fake_telegram.py")


@contextmanager
def telegram(host: Host, folder: str, *status: str) -> Iterator[str]:
    """Run the fake on the host itself; give the file of calls."""
    calls, unit = f"{folder}/telegram-calls", "holdfast-fake-telegram"
    host.write(f"{folder}/fake_telegram.py", FAKE.read_text())
    host.run("rm", "-f", calls)
    argv = ("/usr/bin/python3", f"{folder}/fake_telegram.py", str(PORT), calls, *status)
    host.run("systemd-run", "--quiet", "--collect", f"--unit={unit}", *argv)
    try:
        listening = ("bash", "-c", f"echo > /dev/tcp/127.0.0.1/{PORT}")
        wait_until(lambda: host.run(*listening, check=False).status == 0, "the fake Telegram listens")
        yield calls
    finally:
        host.run("systemctl", "stop", unit, check=False)


def configure(site: Site, host: Host, **more: Any) -> str:
    """Write the site's configuration with Telegram at the fake's address, and further changes; return its path."""
    host.write(f"{site.folder}/telegram-token", TOKEN + "\n", "0600")
    chat = {
        "token_file": f"{site.folder}/telegram-token",
        "chat_id": "-100200300",
        "api_url": f"http://127.0.0.1:{PORT}",
    }
    told = {"telegram": chat, "timeout_seconds": 8, "runbooks": "https://example.org/runbooks"}
    return site.configure(host, {"notifications": told, **more}, "-telegram")


def texts(host: Host, calls: str) -> list[str]:
    """Return the messages that were sent; every one to the chat, with the token."""
    entries = [json.loads(line) for line in host.read(calls).splitlines()]
    for entry in entries:
        assert entry["path"] == f"/bot{TOKEN}/sendMessage"
        assert str(entry["chat_id"]) == "-100200300"
    return [entry["text"] for entry in entries]


def test_success(site: Site, replica: Host) -> None:
    with telegram(replica, site.folder) as calls:
        site.run(replica, "mysql-backup-full", config=configure(site, replica))
        (text,) = texts(replica, calls)
    newest = site.manifests()[-1]
    name = re.escape(newest["id"])
    size = r"\d+(\.\d)? (B|KiB|MiB|GiB)"
    assert re.fullmatch(
        rf"OK full backup of {site.name} \({replica.name}\)\n"
        rf"size {size} compressed \({size} data\), took (\d+ min )?\d+ s\n"
        rf"backup {name}\n"
        rf"chain {name}, reason full as asked",
        text,
    ), text


def test_failure(site: Site, replica: Host) -> None:
    with telegram(replica, site.folder) as calls:
        done = site.run(
            replica, "mysql-backup-full", config=configure(site, replica, store={"remote": "nowhere:"}), expect=5
        )
        (text,) = texts(replica, calls)
    lines = text.splitlines()
    assert lines[0] == f"FAILED full backup of {site.name} ({replica.name})"
    assert f"nowhere:{site.name}" in lines[1]
    assert lines[-1].startswith("Runbook: https://example.org/runbooks/")
    assert lines[-1].endswith(".md")
    assert lines[1] in done.text, "cron's mail says something else than Telegram"
    assert TOKEN not in done.text


def test_telegram_that_refuses_never_fails_a_good_backup(site: Site, replica: Host) -> None:
    before = len(site.manifests())
    with telegram(replica, site.folder, "500"):
        done = site.run(replica, "mysql-backup-full", config=configure(site, replica))
    assert "notification not sent: telegram" in done.text
    assert TOKEN not in done.text
    assert len(site.manifests()) == before + 1


def test_telegram_that_is_down_never_hides_the_real_error(site: Site, replica: Host) -> None:
    done = site.run(
        replica, "mysql-backup-full", config=configure(site, replica, store={"remote": "nowhere:"}), expect=5
    )
    assert f"nowhere:{site.name}" in done.text
    assert "notification not sent: telegram" in done.text


def test_nothing_is_sent_when_it_is_not_this_hosts_turn(site: Site, primary: Host) -> None:
    primary.run("rm", "-f", f"{site.folder}/messages")
    site.run(primary, "mysql-backup-full", expect=75)
    assert site.messages(primary) == ""
