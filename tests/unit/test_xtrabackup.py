"""The XtraBackup engine, against executables that behave like it, and against the real one where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.backup.manifest import Manifest
from holdfast.backup.xtrabackup import XtrabackupEngine, prepare_argv, refuse_other_series
from holdfast.backup.xtrabackup_files import (
    complaint,
    parse_binlog_info,
    parse_binlog_pos,
    parse_lsns,
    parse_settings,
    parse_version,
)
from holdfast.config import parse
from holdfast.errors import ToolError
from holdfast.process import Pipeline
from support.backups import full, gtids, incremental

FAKE = """#!/bin/sh
echo "$0 $*" >> "$HOME/calls"
folder=; lsn=0
for argument in "$@"; do case "$argument" in
  --version) echo 'xtrabackup version 9.7.1-rc1 based on MySQL server 9.7.1 Linux (x86_64)' >&2; exit 0 ;;
  --extra-lsndir=*) folder=${argument#*=} ;;
  --incremental-lsn=*) lsn=${argument#*=} ;;
esac; done
[ -e "$HOME/fail" ] && { cat "$HOME/fail" >&2; exit 1; }
case " $* " in *" --backup "*)
  printf 'stream from %s' "$lsn"
  printf 'backup_type = full-backuped\\nfrom_lsn = %s\\nto_lsn = 900\\nlast_lsn = 905\\n' "$lsn" \\
    > "$folder/xtrabackup_checkpoints"
  point="filename 'binlog.000007', position '197', GTID of the last change"
  printf "tool_version = 9.7.1-rc1\\nbinlog_pos = $point '%s'\\nx = y\\n" \\
    "11111111-1111-1111-1111-111111111111:1-9,
22222222-2222-2222-2222-222222222222:1-3" > "$folder/xtrabackup_info" ;;
esac
[ -e "$HOME/silent" ] || echo '2026-11-23T01:00:00 0 [Note] [MY-011825] [Xtrabackup] completed OK!' >&2
"""
XBSTREAM = """#!/bin/sh
echo "$0 $*" >> "$HOME/calls"
cat > "$3/content"
"""
CHUNKS = Callable[[Manifest], Iterator[bytes]]


@pytest.fixture(autouse=True)
def kill_switch() -> None:
    """In place of the package's: here programs called xtrabackup are started, which are fakes of this file."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("xtrabackup", FAKE), ("xbstream", XBSTREAM)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def engine(home: Path, configuration: Callable[..., dict[str, Any]]) -> XtrabackupEngine:
    (home / "staging").mkdir()
    document = configuration(**{"backup.engine": "xtrabackup", "backup.staging_directory": str(home / "staging")})
    return XtrabackupEngine(parse(document))


def take(engine: XtrabackupEngine, parent: Manifest | None = None) -> tuple[bytes, Any]:
    kind: Any = "full" if parent is None else "incremental"
    with engine.capture(kind, parent, cast("Any", None), "20261122T010000Z-x-db1") as capture:
        with Pipeline(capture.stages) as pipeline:
            assert pipeline.stdout is not None
            stream = pipeline.stdout.read()
            pipeline.finish(timeout_seconds=20)
        return stream, capture.facts()


def test_a_full(engine: XtrabackupEngine, home: Path) -> None:
    stream, facts = take(engine)
    assert stream == b"stream from 0"
    assert (facts.from_lsn, facts.to_lsn) == (0, 900)
    assert facts.gtid_contained == facts.gtid_upper == gtids("A:1-9,B:1-3")
    assert (facts.binlog_file, facts.binlog_position) == ("binlog.000007", 197)
    call = (home / "calls").read_text().split()
    assert call[1] == "--defaults-extra-file=/etc/holdfast/secrets/mysql-backup.cnf"
    assert {"--backup", "--stream=xbstream", "--slave-info", "--parallel=2"} <= set(call)
    assert "password" not in (home / "calls").read_text()
    assert not list((home / "staging").iterdir())


def test_an_incremental_begins_where_its_parent_ended(engine: XtrabackupEngine) -> None:
    stream, facts = take(engine, full("p", engine="xtrabackup", to_lsn=700))
    assert (stream, facts.from_lsn) == (b"stream from 700", 700)


def test_a_parent_without_an_lsn_is_refused(engine: XtrabackupEngine) -> None:
    with pytest.raises(ToolError, match="needs a parent with a to_lsn"):
        take(engine, full("p", engine="xtrabackup"))


def test_exit_0_without_completed_ok_is_a_failure(engine: XtrabackupEngine, home: Path) -> None:
    (home / "silent").touch()
    with pytest.raises(ToolError, match="xtrabackup: ended without 'completed OK!'"):
        take(engine)
    assert not list((home / "staging").iterdir())


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Access denied; you need (at least one of) the BACKUP_ADMIN privilege(s)", "account may not do"),
        ("reopen_log_files did not find valid files. Possibly the redo log files have been removed", "overwrote redo"),
        ("This incremental backup seems not to be proper for the target.", "does not continue what it is applied to"),
        ("Error: Unsupported server version 9.8.0.", "not made for this MySQL"),
        ("xtrabackup: Error writing file (No space left on device)", "A disk is full"),
        ("some new words", "xtrabackup: exited with status 1"),
    ],
)
def test_known_failures_say_what_they_mean(engine: XtrabackupEngine, home: Path, text: str, meaning: str) -> None:
    (home / "fail").write_text(text + "\n")
    with pytest.raises(ToolError) as failed:
        take(engine)
    assert meaning in failed.value.what
    assert text in failed.value.meaning


def test_a_chain_is_materialised_in_order(engine: XtrabackupEngine, home: Path) -> None:
    first = full("full", engine="xtrabackup", to_lsn=1)
    second = incremental("one", first, hours=24, to_lsn=2)
    third = incremental("two", second, hours=48, to_lsn=3)

    def stream_of(manifest: Manifest) -> Iterator[bytes]:
        yield subprocess.run(["lz4", "-c"], input=manifest.id.encode(), check=True, capture_output=True).stdout

    target = home / "restored"
    engine.materialise([first, second, third], target, stream_of)
    calls = [line.partition("/bin/")[2] for line in (home / "calls").read_text().splitlines()]
    assert calls == [
        f"xbstream -x -C {target} --parallel=2",
        f"xtrabackup --prepare --target-dir={target} --apply-log-only",
        f"xbstream -x -C {target}.one --parallel=2",
        f"xtrabackup --prepare --target-dir={target} --apply-log-only --incremental-dir={target}.one",
        f"xbstream -x -C {target}.two --parallel=2",
        f"xtrabackup --prepare --target-dir={target} --incremental-dir={target}.two",
    ]
    assert (target / "content").read_bytes() == b"full"
    assert not list(home.glob("restored.*"))


def test_a_full_alone_is_prepared_for_good() -> None:
    assert prepare_argv(Path("/r"), None, last=True) == ("xtrabackup", "--prepare", "--target-dir=/r")


@pytest.mark.parametrize(
    ("status", "tail", "well"),
    [
        (0, "x\n... [Xtrabackup] completed OK!", True),
        (0, "completed OK!\n", True),
        (0, "completed OK!\nerror afterwards", False),
        (0, "", False),
        (1, "completed OK!", False),
        (-9, "completed OK!", False),
    ],
)
def test_success(status: int, tail: str, well: bool) -> None:
    assert (complaint(status, tail) is None) is well


@pytest.mark.parametrize("engine_version", ["8.4.0-7", "9.6.0-1"])
def test_another_series_is_refused(engine_version: str) -> None:
    with pytest.raises(ToolError, match=rf"XtraBackup {engine_version} does not back up MySQL 9\.7\.4-2"):
        refuse_other_series(engine_version, "9.7.4-2")
    refuse_other_series("9.7.1-rc1", "9.7.4-2")


def test_files() -> None:
    settings = parse_settings("backup_type = incremental\nfrom_lsn = 12\nto_lsn = 34\nflushed_lsn =\n")
    assert parse_lsns(settings) == (12, 34)
    point = parse_binlog_info(
        "binlog.000003\t197\t11111111-1111-1111-1111-111111111111:1-5,\n22222222-2222-2222-2222-222222222222:7\n"
    )
    assert (point.file, point.position, point.gtid) == ("binlog.000003", 197, gtids("A:1-5,B:7"))
    assert parse_binlog_pos("filename 'b.1', position '4'").gtid == gtids("")
    assert parse_version("2026 [Note] xtrabackup version 8.4.0-7 based on MySQL server 8.4.0") == "8.4.0-7"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: parse_lsns({"from_lsn": "1"}),
        lambda: parse_binlog_info("binlog.000003"),
        lambda: parse_binlog_pos(""),
        lambda: parse_version("command not found"),
    ],
)
def test_unreadable_files_are_errors(wrong: Callable[[], object]) -> None:
    with pytest.raises(ToolError):
        wrong()


def test_it_says_so_when_it_is_not_installed(engine: XtrabackupEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolError, match="xtrabackup is not installed on this host") as missing:
        engine.preflight(cast("Any", None))
    assert "percona-xtrabackup" in missing.value.meaning


@pytest.mark.needs
@pytest.mark.skipif(shutil.which("xtrabackup") is None, reason="needs the package percona-xtrabackup")
def test_the_real_one_takes_our_options(configuration: Callable[..., dict[str, Any]]) -> None:
    engine = XtrabackupEngine(parse(configuration()))
    assert engine.version(cast("Any", None))
    known = subprocess.run(["xtrabackup", "--help"], check=True, capture_output=True, text=True).stdout
    options = [*engine.backup_argv(full(), Path("/m"), Path("/t")), *prepare_argv(Path("/t"), Path("/i"), last=False)]
    for option in options:
        name = option.partition("=")[0]
        assert not name.startswith("--") or name in known, name
