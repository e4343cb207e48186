"""kill -9 of any process of the pipeline, and a polite SIGTERM: nothing incomplete counts, nothing is left over."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from support import faults
from support.hosts import Host, exit_status, wait_until
from support.site import Site

# Slow enough that a run can be hit in the middle, with small segments so that some are up by then.
SLOW = {"backup": {"rate_limit_bytes_per_second": 400_000, "segment_bytes": 200_000}}
PYTHON, STREAM, LZ4 = "bin/mysql-backup-full|mysql_backup_full", "mysql_clone_stream.py", r"^lz4 "
UPLOAD = "rclone.*rcat"
ANY = f"{PYTHON}|{STREAM}|{LZ4}|rclone"


@pytest.fixture
def run_in_the_middle(site: Site, replica: Host) -> Iterator[subprocess.Popen[bytes]]:
    """A full backup that has uploaded its first segment and goes on."""
    config = site.configure(replica, SLOW, "-slow")
    before = len(site.objects("^backups/"))
    job = replica.start(*site.command("mysql-backup-full", config=config))
    try:
        wait_until(lambda: len(site.objects("^backups/")) > before or job.poll() is not None, "a first segment")
        assert job.poll() is None, b"".join(job.communicate()).decode()
        yield job
    finally:
        for pid in faults.pids(replica, ANY):
            replica.run("kill", "-KILL", str(pid), check=False)
        job.communicate(timeout=60)


def assert_nothing_counts_and_the_next_run_heals(site: Site, replica: Host, before: int) -> None:
    """No manifest, no process; the next run works and removes what was left on disk."""
    wait_until(
        lambda: not faults.pids(replica, ANY), f"every process is gone: {faults.pids(replica, ANY)}", limit_seconds=10
    )
    assert len(site.objects(r"manifest\.json$")) == before, "an incomplete backup has a manifest"
    site.run(replica, "mysql-backup-full")
    assert len(site.objects(r"manifest\.json$")) == before + 1
    document = site.document(replica)["backup"]
    for key in ("staging_directory", "spool_directory"):
        assert replica.run("ls", "-A", document[key]).out == "", f"{key} is not empty after the next run"


@pytest.mark.parametrize(
    ("pattern", "signal", "status", "words"),
    [
        pytest.param(PYTHON, "KILL", 137, "", id="python"),
        pytest.param(STREAM, "KILL", 4, "clone stream: was killed by SIGKILL", id="stream"),
        pytest.param(LZ4, "KILL", 4, "lz4: was killed by SIGKILL", id="lz4"),
        pytest.param(PYTHON, "TERM", None, "", id="python-term"),
    ],
)
def test_a_killed_process(
    site: Site, replica: Host, run_in_the_middle: subprocess.Popen[bytes],
    pattern: str, signal: str, status: int | None, words: str,
) -> None:  # fmt: skip
    before = len(site.objects(r"manifest\.json$"))
    faults.kill(replica, pattern, signal)
    output = b"".join(run_in_the_middle.communicate(timeout=60)).decode()
    if status is None:
        assert run_in_the_middle.returncode != 0, output
    else:
        assert exit_status(run_in_the_middle.returncode) == status, output
    assert words in output
    assert_nothing_counts_and_the_next_run_heals(site, replica, before)


def test_one_killed_upload_is_tried_again(
    site: Site, replica: Host, run_in_the_middle: subprocess.Popen[bytes]
) -> None:
    before = len(site.objects(r"manifest\.json$"))
    faults.kill_one_of_many(replica, UPLOAD)
    output = b"".join(run_in_the_middle.communicate(timeout=120)).decode()
    assert run_in_the_middle.returncode == 0, output
    assert "attempt 1 of 3" in output, "no upload was hit"
    assert len(site.objects(r"manifest\.json$")) == before + 1
    newest = site.manifests()[-1]
    sizes = {line.split(";")[0]: int(line.split(";")[1]) for line in site.rclone(
        replica, "lsf", "--format", "ps", f"{site.remote}/backups/{newest['id']}").out.splitlines()}  # fmt: skip
    for segment in newest["segments"]:
        assert sizes[segment["name"].rpartition("/")[2]] == segment["size"]


def test_uploads_that_never_work_end_the_run(
    site: Site, replica: Host, run_in_the_middle: subprocess.Popen[bytes]
) -> None:
    before = len(site.objects(r"manifest\.json$"))

    with faults.killing(replica, UPLOAD):
        wait_until(lambda: run_in_the_middle.poll() is not None, "the run gives up", limit_seconds=60)
    output = b"".join(run_in_the_middle.communicate(timeout=60)).decode()
    assert run_in_the_middle.returncode == 5, output
    assert_nothing_counts_and_the_next_run_heals(site, replica, before)
