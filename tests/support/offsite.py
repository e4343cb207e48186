"""A store on this machine for tests: a folder that rclone takes for one, or rclone's own server over it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.backup.manifest import name_of_manifest
from holdfast.config import StoreConfig
from support.histories import History

BUCKET = "bucket"


def configuration(folder: Path, *, port: int | None = None, encrypted: bool = False) -> StoreConfig:
    """The configuration of a store below `folder`: a plain folder, or with `port` the server there."""
    (folder / "remote" / BUCKET).mkdir(parents=True, exist_ok=True)
    file = folder / "rclone.conf"
    where = (
        f"type = alias\nremote = {folder}/remote" if port is None else f"type = webdav\nurl = http://127.0.0.1:{port}"
    )
    around = "type = alias"
    if encrypted:
        around = (
            "type = crypt\npassword = yQqNCDYsFl4nKqAb-SSsR1N9vCv0\n"
            "filename_encryption = off\ndirectory_name_encryption = false"
        )
    file.write_text(f"[store]\n{where}\n[offsite]\n{around}\nremote = store:{BUCKET}\n")
    return StoreConfig(file, "offsite:", encrypted, attempts=2, retry_wait_seconds=0, timeout_seconds=60)


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Serve the store's folder by HTTP, so that the store has a clock; yields the port."""
    (folder / "remote" / BUCKET).mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    argv = ["rclone", "serve", "webdav", "--addr", f"127.0.0.1:{port}", str(folder / "remote")]
    with (folder / "server.log").open("wb") as log, subprocess.Popen(argv, stderr=log, stdout=log) as started:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield port
        finally:
            started.terminate()


def fill(folder: Path, history: History, cluster: str = "lab") -> Path:
    """Write a history into an unencrypted store's folder; the cluster's folder."""
    root = folder / "remote" / BUCKET / cluster
    sizes = {item.name: item.size for item in history.objects()}
    for name, size in sizes.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * size)
    for manifest in history.manifests:
        (root / name_of_manifest(manifest.id)).write_bytes(manifest.to_json())
    for entry in history.entries:
        (root / entry.entry_name).write_bytes(entry.to_json())
    state = {item.name: item.to_json() for item in history.lines}
    state |= {item.name: item.to_json() for item in history.drills}
    for name, data in state.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for item in history.objects():
        os.utime(root / item.name, (item.modified.timestamp(), item.modified.timestamp()))
    return root


def names(root: Path) -> set[str]:
    """All objects."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
