"""Run the stages of `make test`, one after the other, and print what each took.

    python tests/stages.py            every stage of CI
    python tests/stages.py check      one stage (STAGES below, rebuild and failover)
    python tests/stages.py PATH ...   pytest on these paths, against the lab as it stands
    python tests/stages.py long       what takes longer than CI allows

Environment: KEEP=1 leaves the lab up; HOLDFAST_LAB picks the lab's number. On a failure the logs of all hosts are
collected under the cache. The exit status is 0 only if every stage passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAB = (sys.executable, "molecule/lab/lab.py")
CACHE = Path(os.environ.get("HOLDFAST_CACHE") or Path.home() / ".cache" / "holdfast")
PYTEST = ("pytest", "-q", "-p", "no:cacheprovider")
VERSIONS = (
    ("db1", "mysqld --version; rclone --version | head -1; lz4 --version | head -1; python3 --version"),
    ("app1", ". /etc/os-release; echo $PRETTY_NAME; rclone --version | head -1; python3 --version"),
)


@dataclass(frozen=True)
class Stage:
    """A named part of the run: commands that must all exit 0, one after the other or, at once, side by side."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    needs_lab: bool = True
    at_once: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a stage, and how long it took."""

    stage: Stage
    seconds: float
    failed: tuple[str, ...] | None


CHECK = Stage(
    "check",
    (
        ("ruff", "format", "--check", "scripts", "tests", "molecule"),
        ("ruff", "check", "scripts", "tests", "molecule"),
        ("mypy", "--strict"),
        ("yamllint", "--strict", "."),
        ("ansible-lint", "--strict", "--offline"),
        (*PYTEST, "--numprocesses=auto", "tests/unit"),
        (*PYTEST, "tests/contract"),
    ),
    needs_lab=False,
    at_once=True,
)
SIMULATION = Stage("simulation", ((*PYTEST, "-m", "not long", "tests/simulation"),), needs_lab=False)
DEFAULT = Stage(
    "default",
    (
        (*LAB, "down"),
        # molecule remembers from one run to the next that it created the hosts, and would not create them again
        ("molecule", "reset", "--scenario-name", "default"),
        ("molecule", "test", "--scenario-name", "default", "--destroy", "never"),
        (*PYTEST, *(f"tests/provisioning/test_{name}.py" for name in ("preflight", "reruns"))),
    ),
)
BACKUP_RESTORE = Stage(
    "backup_restore",
    (
        ("molecule", "reset", "--scenario-name", "backup_restore"),
        ("molecule", "test", "--scenario-name", "backup_restore", "--destroy", "never"),
    ),
)
REBUILD = Stage(
    "rebuild",
    (
        ("molecule", "reset", "--scenario-name", "rebuild"),
        ("molecule", "test", "--scenario-name", "rebuild", "--destroy", "never"),
    ),
)
VENDOR_ROLES = Stage(
    "vendor_roles",
    (
        (
            *PYTEST,
            *(f"tests/provisioning/test_{name}.py" for name in ("proxy", "proxysql_admin", "replication_manager")),
        ),
    ),
)
FAILOVER = Stage(
    "failover",
    (
        # on the pair that the stages before have left, with the suite's own settings
        ("molecule", "reset", "--scenario-name", "failover"),
        ("molecule", "test", "--scenario-name", "failover", "--destroy", "never"),
    ),
)
STAGES = (CHECK, SIMULATION, DEFAULT, BACKUP_RESTORE, VENDOR_ROLES)
LONG = (
    # until each has been seen to pass as a whole, twice; then they go to STAGES
    REBUILD,
    # on the pair that the stage before leaves
    Stage("recovery_long", ((*PYTEST, "-m", "long", "tests/recovery"),)),
    FAILOVER,
    Stage("failover_long", ((*PYTEST, "-m", "long", "tests/failover"),)),
    Stage("simulation", ((*PYTEST, "-m", "long", "tests/simulation"),), needs_lab=False),
    Stage("lab", ((*PYTEST, "tests/lab"),)),
    Stage(
        "benchmark",
        ((sys.executable, "tests/benchmark/backup_overhead.py"), (sys.executable, "tests/benchmark/commit_rate.py")),
    ),
)


def chosen(words: list[str]) -> tuple[Stage, ...]:
    """Return the stages that the command line names."""
    if not words:
        return STAGES
    if words == ["long"]:
        return LONG
    by_name = {stage.name: stage for stage in (*STAGES, REBUILD, FAILOVER)}
    if all(word in by_name for word in words):
        return tuple(by_name[word] for word in words)
    paths = [word for word in words if not word.startswith("-") and not Path(word.split("::")[0]).exists()]
    if paths:
        sys.exit(f"no stage and no path {paths[0]!r}; stages: {', '.join(by_name)}, long")
    return (Stage("pytest", ((*PYTEST, *words),)),)


def run_stage(stage: Stage) -> Outcome:
    """Run a stage's commands until one fails; side by side, all of them end."""
    started = time.monotonic()
    if stage.at_once:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            statuses = list(pool.map(lambda command: run_command(stage, command, quietly=True), stage.commands))
        failed = next((command for command, status in zip(stage.commands, statuses, strict=True) if status), None)
        return Outcome(stage, time.monotonic() - started, failed)
    for command in stage.commands:
        if run_command(stage, command) != 0:
            return Outcome(stage, time.monotonic() - started, command)
    return Outcome(stage, time.monotonic() - started, None)


def run_command(stage: Stage, command: tuple[str, ...], *, quietly: bool = False) -> int:
    """Run a command and print what it printed, quietly when it has ended; return its exit status."""
    words = " ".join(command)
    if not quietly:
        print(f"\n=== {stage.name}: {words}", flush=True)
    before = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, check=False, text=True,
        stdout=subprocess.PIPE if quietly else None, stderr=subprocess.STDOUT if quietly else None,
    )  # fmt: skip
    ended = (
        f"=== {stage.name}: {Path(command[0]).name} exited {done.returncode} after {time.monotonic() - before:.0f} s"
    )
    print(f"\n=== {stage.name}: {words}\n{done.stdout}{ended}" if quietly else ended, flush=True)
    return done.returncode


def print_versions() -> None:
    """Print what the tests ran on."""
    for host, script in VERSIONS:
        name = f"holdfast{os.environ.get('HOLDFAST_LAB', '1')}-{host}"
        done = subprocess.run(["podman", "exec", name, "sh", "-c", script], text=True, capture_output=True, check=False)
        print(f"{host}: " + "; ".join(done.stdout.split("\n")).rstrip("; "))


def print_summary(outcomes: list[Outcome]) -> None:
    """Print each stage's share of the time, and the verdict as the last line."""
    total = sum(outcome.seconds for outcome in outcomes)
    print(f"\n{'stage':20} {'seconds':>8} {'share':>6}  verdict")
    for outcome in outcomes:
        verdict = "passed" if outcome.failed is None else f"FAILED in: {' '.join(outcome.failed)}"
        print(f"{outcome.stage.name:20} {outcome.seconds:8.0f} {outcome.seconds / total:6.0%}  {verdict}")
    print(f"{'total':20} {total:8.0f}")
    failures = sum(1 for outcome in outcomes if outcome.failed is not None)
    print(f"stages: {len(outcomes) - failures} passed, {failures} failed", flush=True)


def main(words: list[str]) -> int:
    """Run what was asked for; return 0 only if all of it passed."""
    stages = chosen(words)
    outcomes: list[Outcome] = []
    for stage in stages:
        outcomes.append(run_stage(stage))
        if outcomes[-1].failed is not None:
            break
    failed = outcomes[-1].failed is not None
    if any(stage.needs_lab for stage in stages):
        if any(outcome.stage.needs_lab for outcome in outcomes):
            print_versions()
        if failed:
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            subprocess.run([*LAB, "logs", str(CACHE / "logs" / stamp)], cwd=ROOT, check=False)
        if not os.environ.get("KEEP") and stages[0].name != "pytest":
            subprocess.run([*LAB, "down"], cwd=ROOT, check=False)
    print_summary(outcomes)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
