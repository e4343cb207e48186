"""What cannot be meant or cannot be trusted is refused before anything is touched, by name, with the right status."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.backup.sealed import seal, unseal
from support import faults
from support.hosts import Host, Lab, wait_until
from support.site import Site
from support.workload import Workload

MISSING: Any = ...


@dataclass(frozen=True)
class Story:
    """One sound chain and its binlogs in four files, and a moment that it can be restored to."""

    full: dict[str, Any]
    binlogs: list[str]
    moment: float


@pytest.fixture(scope="module")
def story(lab: Lab, site: Site, shop: Workload) -> Story:
    shop.write_for(30)
    lab.wait_for_replica()
    site.run(lab.db2, "mysql-backup-full")
    moment = time.time() + 1.5  # the window is in whole seconds
    wait_until(lambda: time.time() > moment, "that moment is over")
    for _ in range(3):
        shop.write_for(20)
        lab.wait_for_replica()
        site.run(lab.db2, "mysql-backup-binlogs")
    (full,) = site.manifests()
    return Story(full, site.objects(rf"^binlogs/{full['lineage']}/.*\.lz4$"), moment)


@contextmanager
def nothing_touched(site: Site, host: Host) -> Iterator[None]:
    """Assert that the store, the restore folder and the folders of work are as before."""

    def seen() -> tuple[list[str], str]:
        folders = f"{site.folder}/staging {site.folder}/spool {site.folder}/restore {site.folder}/signatures"
        return site.objects(), host.run("bash", "-c", f"ls -AR {folders}").out

    before = seen()
    yield
    assert seen() == before, "something was touched"


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        pytest.param({"backup": {"segment_byte": 1}}, 3, "backup.segment_byte: unknown key", id="unknown-key"),
        pytest.param({"store": {"attempts": MISSING}}, 3, "store.attempts: missing", id="missing-key"),
        pytest.param({"mysql": {"series": 9.7}}, 3, "mysql.series: must be a string", id="unquoted-series"),
        pytest.param(
            {"mysql": {"backup_account_file": "/etc/holdfast/secrets/none.cnf"}}, 3, "/etc/holdfast/secrets/none.cnf",
            id="missing-account-file",
        ),
        pytest.param(
            {"store": {"rclone_config_file": "/etc/holdfast/secrets/none.conf"}}, 3, "/etc/holdfast/secrets/none.conf",
            id="missing-rclone-config",
        ),
        pytest.param({"store": {"remote": "nowhere:"}}, 5, "nowhere:", id="no-such-remote"),
        pytest.param({"backup": {"staging_directory": "/var/lib/none"}}, 3, "/var/lib/none", id="no-staging-folder"),
    ],
)  # fmt: skip
def test_configuration(site: Site, replica: Host, changes: dict[str, Any], status: int, words: str) -> None:
    config = site.configure(replica, changes, "-bad")
    with nothing_touched(site, replica):
        done = site.run(replica, "mysql-backup-full", config=config, expect=status)
    assert words in done.text


TARGETS = [
    pytest.param(("--to-time", "2020-01-01 00:00:00 UTC"), 5, ("2020-01-01", "Restorable is"), id="before-window"),
    pytest.param(("--to-time", "2040-01-01 00:00:00 UTC"), 5, ("2040-01-01", "Restorable is"), id="after-window"),
    pytest.param(
        ("--to-time", "2026-10-25 02:30:00 Europe/Berlin"),
        2,
        ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
        id="ambiguous-local-time",
    ),
    pytest.param(("--to-time", "2026-03-29 02:30:00 Europe/Berlin"), 2, ("2026-03-29",), id="no-such-local-time"),
    pytest.param(("--to-time", "2026-11-23 12:00:00"), 2, ("zone",), id="no-zone"),
    pytest.param(("--before-gtid", "nonsense"), 2, ("nonsense",), id="no-gtid"),
    pytest.param(
        ("--to-gtid", "11111111-1111-1111-1111-111111111111:5"),
        5,
        ("11111111-1111-1111-1111-111111111111:5",),
        id="gtid-that-nobody-has",
    ),
]


def assert_refused(
    site: Site, replica: Host, command: str, arguments: tuple[str, ...], status: int, words: tuple[str, ...]
) -> None:
    """Assert that a verb of mysql-restore refuses a target."""
    with nothing_touched(site, replica):
        done = site.run(replica, "mysql-restore", command, *arguments, expect=status)
    for word in words:
        assert word in done.text


@pytest.mark.parametrize(("arguments", "status", "words"), TARGETS)
@pytest.mark.usefixtures("story")
def test_plan_to_a_target(
    site: Site, replica: Host, arguments: tuple[str, ...], status: int, words: tuple[str, ...]
) -> None:
    assert_refused(site, replica, "plan", arguments, status, words)


@pytest.mark.parametrize(("arguments", "status", "words"), TARGETS[:3:2])  # both verbs share the code that refuses
@pytest.mark.usefixtures("story")
def test_run_to_a_target(
    site: Site, replica: Host, arguments: tuple[str, ...], status: int, words: tuple[str, ...]
) -> None:
    assert_refused(site, replica, "run", arguments, status, words)


@pytest.mark.usefixtures("story")
def test_a_directory_that_is_not_empty(site: Site, replica: Host) -> None:
    target = f"{site.folder}/restore/taken"
    replica.shell(f"mkdir -p {target}; echo precious > {target}/file")
    with nothing_touched(site, replica):
        done = site.run(replica, "mysql-restore", "run", "--last", "--directory", target, expect=2)
    assert target in done.text
    assert replica.read(f"{target}/file") == "precious\n"
    replica.run("rm", "-rf", target)


def put(site: Site, name: str, content: bytes) -> None:
    """Overwrite an object of the store, as somebody with the key could."""
    site.rclone(site.lab.db2, "rcat", f"{site.remote}/{name}", stdin=content)


def content_of(site: Site, name: str) -> bytes:
    """Return an object's bytes."""
    encoded = site.lab.db2.run(
        "bash", "-o", "pipefail", "-c", 'rclone --config "$1" cat "$2" | base64 -w0', "cat",
        str(site.document(site.lab.db2)["store"]["rclone_config_file"]), f"{site.remote}/{name}",
    ).out  # fmt: skip
    return base64.b64decode(encoded)


@contextmanager
def altered(site: Site, name: str, change: Any) -> Iterator[None]:
    """Alter an object for the time of the block."""
    original = content_of(site, name)
    put(site, name, change(original))
    try:
        yield
    finally:
        put(site, name, original)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data.replace(b'"on_primary": false', b'"on_primary": true '), id="edited"),
        pytest.param(lambda data: data[:-1], id="cut-by-one-byte"),
        pytest.param(lambda data: data[: len(data) // 2], id="half"),
        pytest.param(lambda data: data.replace(b'"schema_version": 1', b'"schema_version": 2'), id="newer"),
    ],
)
def test_a_manifest_that_is_not_as_it_was_written(site: Site, replica: Host, story: Story, change: Any) -> None:
    name = f"backups/{story.full['id']}/manifest.json"
    assert change(content_of(site, name)) != content_of(site, name)
    with altered(site, name, change), nothing_touched(site, replica):
        done = site.run(replica, "mysql-restore", "run", "--last", expect=5)
        assert name in done.text


def flip(data: bytes) -> bytes:
    """Change one bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_a_segment_with_one_flipped_byte(site: Site, replica: Host, story: Story) -> None:
    """By somebody with the crypt password: only our SHA-256 can tell."""
    name = story.full["segments"][0]["name"]
    with altered(site, name, flip):
        done = site.run(replica, "mysql-restore", "run", "--last", expect=5)
    assert name in done.text
    assert not faults.pids(replica, f"mysqld .*{site.folder}"), "a server runs on half a restore"


def test_a_segment_with_one_flipped_byte_on_the_stores_disk(site: Site, lab: Lab, story: Story) -> None:
    """As a bad disk would: the store holds ciphertext."""
    name = story.full["segments"][0]["name"]
    original = content_of(site, name)
    lab.store.run("touch", "/tmp/before")
    put(site, name, original)
    found = lab.store.shell(
        "find /srv/store -type f -newer /tmp/before -size +1k -printf '%s %p\\n' | sort -n | tail -n 1"
    ).out
    path = found.strip().partition(" ")[2]
    assert path, "the segment's file was not found on the store"
    stored = lab.store.run("base64", "-w0", path).out
    before = base64.b64decode(stored)
    assert original[:4096] not in before, "the store can read the backup: it is not encrypted"
    lab.store.write(path, flip(before))
    try:
        done = site.run(lab.db2, "mysql-restore", "run", "--last", expect=5)
        assert name in done.text
    finally:
        put(site, name, original)


def test_a_hole_in_the_binlogs(site: Site, replica: Host, story: Story) -> None:
    """One object less: what lies behind it is out of reach, and the message names the transactions."""
    victim = story.binlogs[-2]
    entry = victim.removesuffix(".lz4") + ".json"
    kept = {name: content_of(site, name) for name in (victim, entry)}
    gtids = site.json(entry)["gtids"]
    try:
        for name in kept:
            site.rclone(replica, "deletefile", f"{site.remote}/{name}")
        with nothing_touched(site, replica):
            done = site.run(replica, "mysql-restore", "run", "--last", expect=5)
        assert "hole" in done.text
        assert gtids.split(":")[-1] in done.text, f"the message does not name {gtids}: {done.text}"
        moment = datetime.fromtimestamp(story.moment, UTC)
        site.run(replica, "mysql-restore", "plan", "--to-time", f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}")
    finally:
        for name, content in kept.items():
            put(site, name, content)


def test_a_binlog_name_that_is_archived_with_other_content(site: Site, lab: Lab, shop: Workload, story: Story) -> None:
    """As when two lives of a server share a lineage: the name is taken, the file on disk is another."""
    newest = story.binlogs[-1]
    following = f"{newest[: -len('000000.lz4')]}{int(newest[-10:-4]) + 1:06}.lz4"
    entry_name = following.removesuffix(".lz4") + ".json"
    name = newest.removesuffix(".lz4") + ".json"
    entry = unseal(content_of(site, name), name, schema_version=1)
    kept = {following: b"something else", entry_name: seal({**entry, "file": following.split("/")[-1][: -len(".lz4")]})}
    for name, content in kept.items():
        put(site, name, content)
    try:
        shop.write_for(10)
        lab.wait_for_replica()
        with nothing_touched(site, lab.db2):
            done = site.run(lab.db2, "mysql-backup-binlogs", expect=5)
        assert f"{following.split('/')[-1].removesuffix('.lz4')} is archived already" in done.text
        for name, content in kept.items():
            assert content_of(site, name) == content, f"{name} was overwritten"
    finally:
        for name in kept:
            site.rclone(lab.db2, "deletefile", f"{site.remote}/{name}")
    site.run(lab.db2, "mysql-backup-binlogs")


def test_a_myisam_table(site: Site, lab: Lab, shop: Workload) -> None:
    lab.primary().sql(f"CREATE TABLE {shop.database}.old_style (id INT) ENGINE=MyISAM")
    lab.wait_for_replica()
    try:
        with nothing_touched(site, lab.db2):
            done = site.run(lab.db2, "mysql-backup-full", expect=4)
        assert f"{shop.database}.old_style (MyISAM)" in done.text
    finally:
        lab.primary().sql(f"DROP TABLE {shop.database}.old_style")
        lab.wait_for_replica()
