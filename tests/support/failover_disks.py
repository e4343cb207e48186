"""Disks of the pair's hosts that are small enough to fill: a folder moves to one for the time of a block."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from support.hosts import Host

STAGE = "/var/lib/holdfast-small"
FILLER = "filler"


def _as_outer_root(host: Host, script: str) -> None:
    """Run a script in the host's file system with the rights to mount that the host itself lacks."""
    inside = ["nsenter", "-t", str(host.init_pid()), "--mount", "--pid", "--"]
    subprocess.run([*inside, "sh", "-euc", script], check=True, capture_output=True)


@contextmanager
def moved_to_small_disk(host: Host, folder: str, room_bytes: int, units: tuple[str, ...]) -> Iterator[None]:
    """Have a folder on a disk of its own, with so much room beside what is in it; its units are stopped for each move.

    What was written meanwhile is in the folder afterwards.
    """
    used = int(host.run("du", "-sb", folder).out.split()[0])
    host.run("systemctl", "stop", *units, timeout_seconds=90)
    _as_outer_root(
        host,
        f"mkdir -p {STAGE}; mount -t tmpfs -o size={used + room_bytes},mode=0755 tmpfs {STAGE};"
        f"cp -a {folder}/. {STAGE}/; mount --bind {STAGE} {folder}",
    )
    try:
        host.run("systemctl", "start", *units, timeout_seconds=90)
        yield
    finally:
        host.run("systemctl", "stop", *units, check=False, timeout_seconds=90)
        _as_outer_root(
            host,
            f"umount {folder}; rm -f {STAGE}/{FILLER}; find {folder} -mindepth 1 -delete;"
            f"cp -a {STAGE}/. {folder}/; umount {STAGE}; rmdir {STAGE}",
        )
        host.run("systemctl", "start", *units, timeout_seconds=90)


@contextmanager
def filled(host: Host, folder: str) -> Iterator[None]:
    """Fill a folder's disk to the last byte for the time of the block."""
    file = f"{folder}/{FILLER}"
    host.run("sh", "-c", f"dd if=/dev/zero of={file} bs=1M; dd if=/dev/zero of={file}.rest bs=512; true")
    try:
        yield
    finally:
        host.run("rm", "-f", file, f"{file}.rest")
