"""Somebody has a database host's key and does his worst: everything stays restorable, with the read key alone.

The programs' own store, rclone's b2 backend and its encryption, against b2sdk's simulator of Backblaze B2 over HTTP.
"""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.backup.manifest import folder_of, load_manifests, name_of_manifest
from holdfast.backup.segments import read_segments, write_segments
from holdfast.backup.store import Store
from holdfast.config import StoreConfig
from support import backups
from support.b2_server import account, in_real_time, serving

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "library"))
storage: Any = importlib.import_module("offsite_storage")

BUCKET, CLUSTER = "shop-holdfast", "shop"
WANTED = storage.Wanted(cluster=CLUSTER, bucket=BUCKET, lock_days=29, hidden_days=36, point_in_time_days=30)
DATA = os.urandom(300_000)
CRYPT = """[offsite]
type = crypt
remote = {}
password = yQqNCDYsFl4nKqAb-SSsR1N9vCv0
filename_encryption = off
directory_name_encryption = false
"""


@pytest.fixture
def keys() -> Iterator[tuple[str, dict[str, dict[str, str]]]]:
    """A bucket and its keys as playbooks/offsite_storage.yml makes them; where rclone finds B2."""
    api = account()
    made = {key["name"].rpartition("-")[2]: key for key in storage.ensure(api, WANTED, check=False)["keys"]}
    in_real_time(api, BUCKET)
    with serving(api) as endpoint:
        yield endpoint, made


def remote(folder: Path, endpoint: str, key: dict[str, Any]) -> Path:
    """An rclone.conf with that key."""
    path = folder / f"rclone-{key['name']}.conf"
    store = f"[store]\ntype = b2\naccount = {key['id']}\nkey = {key['key']}\nendpoint = {endpoint}\n"
    path.write_text(store + CRYPT.format(f"store:{BUCKET}"))
    return path


def store_of(path: Path) -> Store:
    """The programs' store there."""
    return Store(StoreConfig(path, "offsite:", True, attempts=1, retry_wait_seconds=0, timeout_seconds=60), CLUSTER)


def rclone(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One call of rclone, as somebody types it."""
    argv = ["rclone", "--config", str(path), "--retries", "1", "--low-level-retries", "1", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def a_night(store: Store, spool: Path) -> None:
    """A full backup of some segments and a binlog, as the jobs store them."""
    spool.mkdir()
    segments = write_segments(
        io.BytesIO(DATA), store=store, prefix=folder_of("full"), segment_bytes=1 << 17, spool_directory=spool,
        upload_parallel=2,
    )  # fmt: skip
    manifest = replace(backups.full(), cluster=CLUSTER, segments=tuple(segments), fingerprint=None)
    store.put_bytes(name_of_manifest(manifest.id), manifest.to_json())
    entry = backups.entry(1, "", "A:1-10", hours=(0, 1))
    store.put_bytes(entry.object_name, b"the binlog")
    store.put_bytes(entry.entry_name, entry.to_json())


def restorable(store: Store, spool: Path) -> bool:
    """Whether the night is there, byte by byte."""
    manifests, _ = load_manifests(store)
    entries, _ = backups.load_entries(store)
    if len(manifests) != 1 or len(entries) != 1 or store.get_bytes(entries[0].object_name) != b"the binlog":
        return False
    return b"".join(read_segments(manifests[0].segments, store, spool, 2)) == DATA


def test_everything_stays_restorable(keys: tuple[str, dict[str, dict[str, str]]], tmp_path: Path) -> None:
    endpoint, made = keys
    mine = remote(tmp_path, endpoint, made["database"])
    a_night(store_of(mine), tmp_path / "spool")
    assert restorable(store_of(mine), tmp_path / "spool")
    before = datetime.now(UTC)

    names = rclone(mine, "lsf", "-R", "--files-only", f"offsite:{CLUSTER}").stdout.split()
    rubbish = tmp_path / "rubbish"
    for name in names:
        (rubbish / name).parent.mkdir(parents=True, exist_ok=True)
        (rubbish / name).write_text("rubbish")
    assert rclone(mine, "copy", "--ignore-times", str(rubbish), f"offsite:{CLUSTER}").returncode == 0
    assert rclone(mine, "delete", f"offsite:{CLUSTER}").returncode == 0, "the key may hide"
    for worst in (("--b2-hard-delete", "purge", f"offsite:{CLUSTER}"), ("cleanup", f"store:{BUCKET}")):
        assert rclone(mine, *worst).returncode != 0, worst
    assert not restorable(store_of(mine), tmp_path / "spool"), "nothing was attacked"

    # docs/runbooks/backup_damaged.md: what the store was before, copied elsewhere with the key that only reads
    reader, elsewhere = remote(tmp_path, endpoint, made["restorer"]), tmp_path / "elsewhere"
    at = f"{before:%Y-%m-%dT%H:%M:%S}.{before.microsecond // 1000:03d}Z"
    copied = rclone(reader, "copy", "--b2-version-at", at, f"store:{BUCKET}/{CLUSTER}", f"{elsewhere}/{CLUSTER}")
    assert copied.returncode == 0, copied.stderr
    saved = tmp_path / "rclone-saved.conf"
    saved.write_text(CRYPT.format(elsewhere))
    assert restorable(store_of(saved), tmp_path / "spool")
