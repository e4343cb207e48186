"""The cleanup with a real rclone: what goes is what was decided, in few calls, and a run that dies leaves no half."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from holdfast import process
from holdfast.backup import cleanup, cleanup_look, rclone
from holdfast.backup.bulk import Bulk, store_clock
from holdfast.backup.cleanup import LeasedError, RefusedError, carry_out, last_due, run_cleanup
from holdfast.backup.cleanup_look import look_at
from holdfast.backup.manifest import backup_id
from holdfast.backup.retention import deletions
from holdfast.backup.segments import Segment
from holdfast.config import Config, parse
from holdfast.errors import LockedError, NotThisHostError, StorageError
from holdfast.lock import hold
from holdfast.process import Completed
from support.backups import entry, full
from support.histories import BEGINS, History, Story
from support.offsite import configuration as store_configuration
from support.offsite import fill, names, server

ROOT = Path(__file__).resolve().parents[2]
needs_rclone = pytest.mark.skipif(shutil.which("rclone") is None, reason="needs rclone (make setup installs it)")
Build = Callable[..., dict[str, Any]]


@pytest.fixture
def history() -> History:
    """Five weeks without trouble."""
    story = Story(Random(1), BEGINS, trouble=0.0)
    story.go_on(37)
    return story.history


class Site:
    """A host that cleans up, its store and its clock."""

    def __init__(self, folder: Path, document: dict[str, Any], history: History) -> None:
        self.folder, self.document, self.history = folder, document, history
        self.root = fill(folder, history)
        self.now = history.now
        self.told = folder / "told"
        self.config = replace(self._parsed(), store_or_none=store_configuration(folder))

    def _parsed(self) -> Config:
        (self.folder / "state").mkdir()
        self.document["retention"]["maximum_backups"] = 4
        self.document["state_directory"] = str(self.folder / "state")
        self.document["notifications"]["command"] = ["sh", "-c", f"cat >> {self.told}"]
        return parse(self.document)

    def run(self, **options: Any) -> int:
        return run_cleanup(self.config, now=lambda: self.now, **{"allow_more": True, **options})

    @property
    def due(self) -> set[str]:
        """The objects that the policy lets go."""
        bulk = Bulk(self.config.store, "lab", lambda: self.now)
        return {part.name for item in deletions(look_at(self.config, bulk).decisions) for part in item.objects}

    def lease(self, hours: float, *, host: str = "db1") -> Path:
        """Write one that ends in so many hours."""
        begun, end = (f"{self.now + timedelta(hours=h):%Y%m%dT%H%M%SZ}" for h in (-1, hours))
        path = self.root / f"state/leases/backup-{host}-7-{begun}/{end}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        return path


@pytest.fixture
def site(tmp_path: Path, configuration: Build, retention_section: dict[str, Any], history: History) -> Site:
    return Site(tmp_path, configuration(retention=retention_section), history)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs of all calls of rclone."""
    found: list[str] = []
    run = process.run

    def counted(argv: list[str], **options: Any) -> Completed:
        found.append(options["name"].removeprefix("rclone "))
        return run(argv, **options)

    monkeypatch.setattr(rclone, "run", counted)
    return found


@needs_rclone
def test_what_goes_is_what_was_decided_and_a_second_run_deletes_nothing(site: Site, calls: list[str]) -> None:
    before, due = names(site.root), site.due
    assert len(due) > 20
    calls.clear()
    assert site.run() == 0
    assert names(site.root) == before - due
    calls.clear()
    assert site.run() == 0
    assert calls == ["lsjson", "lsf"]
    assert names(site.root) == before - due


@needs_rclone
def test_calls_do_not_grow_with_the_objects(site: Site, calls: list[str]) -> None:
    backups = len({name.split("/")[1] for name in site.due if name.startswith("backups/")})
    calls.clear()
    site.run()
    assert {verb: calls.count(verb) for verb in sorted(set(calls))} == {
        "delete": backups + 2,  # a manifest each; all entries, all binlogs
        "lsf": 1,  # the store's clock
        "lsjson": backups + 3,  # all, twice; leases before each backup and before the binlogs
        "purge": backups,
    }


@needs_rclone
def test_a_dry_run_names_every_object_and_touches_none(site: Site) -> None:
    before, due, lines = names(site.root), site.due, list[str]()
    assert site.run(dry_run=lines.append) == 0
    assert names(site.root) == before
    assert {line.split()[1] for line in lines[:-1]} == before
    assert {line.split()[1] for line in lines if line.startswith("delete ")} == due
    assert all("(" in line for line in lines[:-1])
    assert lines[-1].endswith("stay")
    assert not (site.folder / "state/cleanup.json").exists()


@needs_rclone
def test_an_encrypted_store_is_cleaned_by_the_same_names(site: Site) -> None:
    encrypted = store_configuration(site.folder, encrypted=True)
    plain = site.folder / "plain"
    shutil.move(site.root, plain)
    copy = ["rclone", "--config", str(encrypted.rclone_config_file), "copy", str(plain), "offsite:lab"]
    subprocess.run(copy, check=True, capture_output=True)
    site.config = replace(site.config, store_or_none=encrypted)
    due = site.due
    site.run()
    assert len(due) > 20
    assert names(site.root) == {f"{name}.bin" for name in names(plain) - due}


@needs_rclone
def test_the_stores_clock_is_asked(site: Site) -> None:
    with server(site.folder) as port:
        site.config = replace(site.config, store_or_none=store_configuration(site.folder, port=port))
        moment = Bulk(site.config.store, "lab", lambda: datetime.now(UTC)).moment()
        assert moment.store is not None and abs(moment.now - moment.store) < timedelta(seconds=5)
        before = names(site.root)
        with pytest.raises(RefusedError, match="this host's clock says .*, the store's "):
            site.run()
        assert names(site.root) == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("Date: Wed, 25 Nov 2026 04:08:18 GMT\r\nX: y\r\n", datetime(2026, 11, 25, 4, 8, 18, tzinfo=UTC)),
        (
            "X-Amz-Date: 20200101T000000Z\nDate: Wed, 25 Nov 2026 04:08:18 GMT\nDate: Wed, 25 Nov 2026 04:09:00 GMT\n",
            datetime(2026, 11, 25, 4, 9, tzinfo=UTC),
        ),
    ],
)
def test_the_last_answers_date_is_the_stores_clock(text: str, expected: datetime | None) -> None:
    assert store_clock(text) == expected


@needs_rclone
def test_a_refusal_is_told_with_its_runbook_and_nothing_goes(site: Site) -> None:
    before = names(site.root)
    with pytest.raises(RefusedError, match="refused: one run would delete 5 backups, the limit is 4") as caught:
        site.run(allow_more=False)
    assert caught.value.exit_code == 4
    assert names(site.root) == before
    told = site.told.read_text()
    assert told.startswith("FAILED offsite cleanup of lab (db1)\nrefused: one run would delete 5 backups")
    assert "--allow-more" in told and told.rstrip().endswith("docs/runbooks/cleanup_refused.md")
    assert (ROOT / "docs/runbooks" / cleanup.RUNBOOK).is_file()
    memory = json.loads((site.folder / "state/cleanup.json").read_text())
    assert memory["refused"].startswith("refused: one run would") and memory["succeeded_at"] is None


@needs_rclone
def test_the_hourly_run_tells_once_a_day(site: Site) -> None:
    for hours in (0, 1, 2):
        site.now = site.history.now + timedelta(hours=hours)
        with pytest.raises(RefusedError):
            site.run(allow_more=False, retry_due=hours > 0)
    assert site.told.read_text().count("FAILED") == 1
    site.now += timedelta(hours=20)
    with pytest.raises(RefusedError):
        site.run(allow_more=False, retry_due=True)
    assert site.told.read_text().count("FAILED") == 2


@needs_rclone
def test_the_hourly_run_makes_up_for_a_cleanup_that_is_due(site: Site, calls: list[str]) -> None:
    assert last_due(site.config, site.now) < site.now
    site.run(retry_due=True)
    calls.clear()
    assert site.run(retry_due=True) == 0
    assert calls == []
    site.now = last_due(site.config, site.now) + timedelta(days=1)
    site.run(retry_due=True)
    assert calls


@needs_rclone
def test_a_lease_holds_it_off_quietly(site: Site) -> None:
    before, path = names(site.root), site.lease(1, host="db2")
    with pytest.raises(LeasedError, match="a job is at work: backup-db2-7, since ") as caught:
        site.run()
    assert caught.value.exit_code == 6
    assert not site.told.exists()
    (path.parent / "released.json").touch()
    assert site.run() == 0
    assert names(site.root) - before == {str(item.relative_to(site.root)) for item in path.parent.iterdir()}


@needs_rclone
@pytest.mark.parametrize("succeeded", [True, False])
def test_a_lease_that_never_ends_is_told_after_three_days(site: Site, succeeded: bool) -> None:
    if succeeded:
        site.run()
    else:
        site.lease(1)
        with pytest.raises(LeasedError):
            site.run()
    site.now += timedelta(days=2, hours=23)
    site.lease(5)
    newest = full(
        "fresh", started_at=site.now - timedelta(hours=3), finished_at=site.now - timedelta(hours=2), segments=()
    )
    (site.root / "backups/fresh").mkdir()
    (site.root / "backups/fresh/manifest.json").write_bytes(newest.to_json())
    with pytest.raises(LeasedError):
        site.run()
    site.now += timedelta(hours=2)
    with pytest.raises(RefusedError, match="refused: no cleanup since "):
        site.run()
    assert "as a lease stands: backup-db1-7" in site.told.read_text()


@needs_rclone
def test_a_job_that_begins_meanwhile_stops_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    purge, left = Bulk.purge, [3]

    def then_a_job_begins(self: Bulk, folder: str, *, objects: int) -> None:
        purge(self, folder, objects=objects)
        left[0] -= 1
        if left[0] == 0:
            site.lease(1)

    monkeypatch.setattr(Bulk, "purge", then_a_job_begins)
    due = {name.split("/")[1] for name in site.due if name.startswith("backups/")}
    with pytest.raises(LeasedError, match="a job began meanwhile"):
        site.run()
    gone = due - {path.name for path in (site.root / "backups").iterdir()}
    assert len(gone) == 3


@needs_rclone
def test_an_expired_lease_is_ignored_and_at_last_removed(site: Site) -> None:
    path = site.lease(-3)
    assert site.run() == 0
    assert path.exists()
    site.now += timedelta(days=2, hours=1)
    assert site.run() == 0
    assert not path.exists()


@needs_rclone
@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_is_killed_leaves_nothing_that_seems_whole(site: Site, seed: int) -> None:
    """kill -9 at any moment: what is left is restorable or has no manifest, and the next run ends as one run would."""
    before, due = names(site.root), site.due
    program = (
        "import pickle, sys; from datetime import datetime; from holdfast.backup.cleanup import run_cleanup;"
        "config, now = pickle.load(open(sys.argv[1], 'rb')); run_cleanup(config, allow_more=True, now=lambda: now)"
    )
    (site.folder / "run").write_bytes(pickle.dumps((site.config, site.now)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    running = subprocess.Popen([sys.executable, "-c", program, str(site.folder / "run")], env=environment)
    first = {name for name in due if name.startswith("backups/")}
    deadline = time.monotonic() + 60
    while names(site.root) >= first and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(Random(seed).uniform(0, 3))
    running.send_signal(signal.SIGKILL)
    running.wait()
    left = names(site.root)
    assert before - left <= due
    for manifest in site.history.manifests:
        folder = f"backups/{manifest.id}/"
        if f"{folder}manifest.json" in left:
            assert {segment.name for segment in manifest.segments} <= left
            assert manifest.parent_id is None or f"backups/{manifest.parent_id}/manifest.json" in left
    site.run()
    assert names(site.root) == before - due


@needs_rclone
def test_two_at_once_and_other_hosts(site: Site) -> None:
    with hold(cleanup.LOCK, site.config.state_directory), pytest.raises(LockedError):
        site.run()
    assert not site.told.exists()
    with pytest.raises(NotThisHostError, match="another host cleans up"):
        run_cleanup(replace(site.config, retention_or_none=None))


@needs_rclone
def test_a_wrong_remote_is_no_empty_store(site: Site) -> None:
    with pytest.raises(StorageError, match="offsite:other: there is nothing"):
        run_cleanup(replace(site.config, cluster="other"), now=lambda: site.now)
    assert "there is nothing" in site.told.read_text()


@needs_rclone
def test_what_cannot_be_read_stays_and_a_line_ends_the_run(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    due = site.due
    manifest = next(name for name in sorted(due) if name.endswith("/manifest.json"))
    (site.root / manifest).write_text("{}")
    (site.folder / "state" / cleanup_look.CACHE).unlink()
    site.run()
    assert (site.root / manifest).exists() and manifest in caplog.text
    (site.root / "state/lines").mkdir()
    (site.root / "state/lines/20261101T000000Z-restore.json").write_text("{}")
    with pytest.raises(StorageError, match="says which transactions were given up|cannot be read"):
        site.run()


@needs_rclone
def test_what_was_read_first_counts(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    due = site.due
    manifest = next(item for item in site.history.manifests if f"backups/{item.id}/manifest.json" not in due)
    (site.root / f"backups/{manifest.id}/manifest.json").write_bytes(b"overwritten")
    assert site.due == due
    assert f"backups/{manifest.id}/manifest.json was overwritten" in caplog.text


@needs_rclone
def test_a_folder_whose_manifest_somebody_hid_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = site.history.manifests[5]
    (site.root / f"backups/{manifest.id}/manifest.json").unlink()
    children = [item for item in site.history.manifests if item.chain_id == manifest.chain_id]
    for child in children:
        shutil.rmtree(site.root / f"backups/{child.id}") if child is not manifest else None
    segment = manifest.segments[0].name
    assert segment in site.due
    monkeypatch.setattr(Bulk, "versions", lambda self, folder: ["manifest.json-v2026-07-11-020000-000"])
    assert segment not in site.due


@needs_rclone
def test_an_older_version_that_comes_back_goes_too_and_one_that_never_goes_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = Bulk(site.config.store, "lab", lambda: site.now)
    decisions = look_at(site.config, bulk).decisions
    name = next(part.name for item in deletions(decisions) if item.kind == "binlog" for part in item.objects)
    delete, versions = Bulk.delete, [2]

    def with_versions(self: Bulk, gone: set[str]) -> None:
        delete(self, gone)
        if name in gone and versions[0]:
            versions[0] -= 1
            (site.root / name).write_text("older")

    monkeypatch.setattr(Bulk, "delete", with_versions)
    carry_out(decisions, bulk, lambda: site.now)
    assert not (site.root / name).exists()
    (site.root / name).write_text("older")
    versions[0] = 100
    with pytest.raises(StorageError, match="1 objects are still there after they were deleted 5 times"):
        carry_out(decisions, bulk, lambda: site.now)


def test_a_hundred_thousand_objects_take_a_handful_of_calls(
    tmp_path: Path, configuration: Build, retention_section: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing without a store: 8,000 binlogs and 92,000 segments; decided in seconds, deleted in a few calls."""
    now = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
    documents: dict[str, bytes] = {}
    listed: dict[str, int] = {}
    for day in range(200):
        at = now - timedelta(days=day, hours=2)
        key = backup_id(at, "full", "db1")
        segments = tuple(Segment(f"backups/{key}/segment-{n:06d}.lz4", 300, "a" * 64) for n in range(460))
        made = full(key, started_at=at, finished_at=at, segments=segments, upper=f"A:1-{8_000 - 13 * day}")
        documents[f"backups/{key}/manifest.json"] = made.to_json()
        listed |= {segment.name: segment.size for segment in segments}
    for number in range(1, 8_001):
        last = now - timedelta(hours=8_000 - number)
        binlog = entry(
            number, f"A:1-{number}", f"A:{number + 1}", hours=None, first_time=last, last_time=last, archived_at=last
        )
        documents[binlog.entry_name] = binlog.to_json()
        listed[binlog.object_name] = 100
    listed |= {name: len(data) for name, data in documents.items()}
    assert len(listed) > 100_000
    folders: dict[str, list[str]] = {}
    for name in listed:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    verbs: list[str] = []
    deleted: set[str] = set()

    def run(argv: list[str], **options: Any) -> Completed:
        verb = options["name"].removeprefix("rclone ")
        verbs.append(verb)
        wanted = (
            Path(argv[argv.index("--files-from-raw") + 1]).read_text().split() if "--files-from-raw" in argv else []
        )
        if verb == "lsjson" and argv[-1] == "offsite:lab":
            left = [
                {"Path": name, "Size": size, "ModTime": "2026-01-01T00:00:00Z"}
                for name, size in listed.items()
                if name not in deleted
            ]
            return Completed(0, json.dumps(left).encode(), "")
        if verb == "lsjson":
            return Completed(3, b"", "directory not found")
        if verb == "copy":
            for name in wanted:
                path = Path(argv[-1]) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(documents[name])
        if verb == "delete":
            deleted.update(wanted)
        if verb == "purge":
            deleted.update(folders[argv[-1].removeprefix("offsite:lab/")])
        return Completed(0, b"", "")

    monkeypatch.setattr(rclone, "run", run)
    (tmp_path / "rclone.conf").touch()
    document = configuration(retention=retention_section, state_directory=str(tmp_path))
    document["store"]["rclone_config_file"] = str(tmp_path / "rclone.conf")
    began = time.monotonic()
    run_cleanup(parse(document), allow_more=True, now=lambda: now)
    seconds = time.monotonic() - began
    backups = verbs.count("purge")
    assert 100 < backups < 200 and len(deleted) > 50_000
    assert len(verbs) - 3 * backups <= 8, f"{len(verbs)} calls for {backups} backups"
    assert verbs.count("copy") == 2
    assert seconds < 90  # a few, when nothing else runs on the machine
    verbs.clear()
    run_cleanup(parse(document), now=lambda: now)
    assert verbs == ["lsjson", "lsf"]
