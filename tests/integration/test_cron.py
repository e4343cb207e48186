"""Debian's cron with the files that the roles deploy, led by libfaketime through a week and both odd weekends.

cron and the files are real, the jobs write down when and how they were called. The machine's clock is never touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from holdfast.backup.schedule import due_instant
from support import cron_steps
from support.hosts import Host, Lab, wait_until

pytestmark = pytest.mark.open(reason="not run in the lab yet; cron under libfaketime and the steps were, on Debian 12")
BERLIN = ZoneInfo("Europe/Berlin")
FOLDER = "/var/lib/holdfast/t-cron"
AWAY = f"{FOLDER}/away"
LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
PROGRAMS = ("full", "incremental", "binlogs", "watch", "cleanup")
# A job's line in the log: the minute, the program, its words.
RECORDER = f'#!/bin/sh\nnow=$(date +%s)\necho "$((now - now % 60)) ${{0##*/}} $*" >> {FOLDER}/log\n'
PLAIN_WEEK = (date(2026, 11, 2), 7)
AUTUMN, SPRING = (date(2026, 10, 24), 2), (date(2027, 3, 27), 2)


@dataclass(frozen=True)
class Called:
    """A job that cron started."""

    at: datetime
    words: str


class Cron:
    """A host's cron, with its own files alone and under libfaketime."""

    def __init__(self, host: Host) -> None:
        self.host = host
        deployed = host.shell("cat /etc/cron.d/holdfast-*").out
        self.minutes = {line.split()[0] for line in deployed.splitlines() if line[:1].isdigit()}

    def start(self, at: datetime) -> None:
        """Stop the host's cron and start one whose clock begins just before a moment."""
        host = self.host
        jobs = " ".join(f"mysql-backup-{name}" for name in PROGRAMS)
        environment = f"LD_PRELOAD={LIBRARY}\nFAKETIME_TIMESTAMP_FILE={FOLDER}/clock\nFAKETIME_NO_CACHE=1\n"
        host.run("systemctl", "stop", "cron")
        host.shell(
            f"rm -rf {FOLDER}; mkdir -p {FOLDER}/bin {AWAY}; : > {FOLDER}/log\n"
            f"printf '%+d.0s\\n' $(({int(at.timestamp()) - 120} - $(date +%s))) > {FOLDER}/clock\n"
            f"cp -a /etc/crontab /etc/cron.d {AWAY}/; rm -f /etc/crontab /etc/cron.d/*\n"
        )
        host.write(f"{FOLDER}/bin/tick", RECORDER, "0755")
        host.write(f"{FOLDER}/bin/logger", "#!/bin/sh\ncat > /dev/null\n", "0755")
        host.shell(
            f"for name in {jobs}; do ln -s tick {FOLDER}/bin/$name; done\n"
            # the deployed lines as they are; only the clock, and where programs are found, is the test's
            f"for file in {AWAY}/cron.d/holdfast-*; do\n"
            f"  {{ sed 's|^PATH=|PATH={FOLDER}/bin:|' $file; }} > /etc/cron.d/${{file##*/}}\n"
            "done\n"
        )
        for name in self.host.run("ls", "/etc/cron.d").out.split():
            text = host.read(f"/etc/cron.d/{name}")
            host.write(f"/etc/cron.d/{name}", environment + text)
        tick = f"{environment}PATH={FOLDER}/bin:/usr/bin:/bin\n* * * * * root tick\n"
        host.write("/etc/cron.d/holdfast-tick", tick)
        settings = [f"--setenv={line}" for line in environment.split()]
        argv = ("systemd-run", "--quiet", "--collect", "--unit=holdfast-test-cron", *settings)
        host.run(*argv, "/usr/sbin/cron", "-f")
        wait_until(lambda: bool(self._pid()), "cron runs")

    def _pid(self) -> str:
        show = ("systemctl", "show", "--property=MainPID", "--value", "holdfast-test-cron")
        shown = self.host.run(*show).out.strip()
        return "" if shown == "0" else shown

    def lead(self, begin: datetime, end: datetime) -> list[Called]:
        """Lead it from one due minute to the next; what it started."""
        self.host.write(f"{FOLDER}/cron_steps.py", Path(cron_steps.__file__).read_text())
        span = (str(int(begin.timestamp())), str(int(end.timestamp())), ",".join(sorted(self.minutes)))
        argv = ("python3", f"{FOLDER}/cron_steps.py", self._pid(), f"{FOLDER}/clock", f"{FOLDER}/log", *span)
        self.host.run(*argv, timeout_seconds=600)
        lines = (line.partition(" ") for line in self.host.read(f"{FOLDER}/log").splitlines())
        found = [Called(datetime.fromtimestamp(int(at), UTC), words.strip()) for at, _, words in lines]
        return [called for called in found if called.words != "tick"]

    def stop(self) -> None:
        """Give the host its cron back."""
        self.host.run("systemctl", "stop", "holdfast-test-cron", check=False)
        self.host.shell(
            f"test ! -d {AWAY}/cron.d || {{ rm -f /etc/cron.d/holdfast-*; cp -a {AWAY}/crontab /etc/; "
            f"cp -a {AWAY}/cron.d/. /etc/cron.d/; }}; rm -rf {FOLDER}\n"
        )
        self.host.run("systemctl", "start", "cron")


@pytest.fixture(params=["db2", "app1"])
def cron(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Cron]:
    """The cron of a database host (Debian sid's) and of the app host (Debian 13's)."""
    made = Cron({"db2": lab.db2, "app1": lab.app1}[request.param])
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize(("first", "days"), [PLAIN_WEEK, AUTUMN, SPRING], ids=["plain-week", "autumn", "spring"])
def test_each_job_runs_when_the_schedule_says_and_never_twice(cron: Cron, first: date, days: int) -> None:
    begin = datetime.combine(first, time(), tzinfo=BERLIN).astimezone(UTC)
    last = first + timedelta(days=days)
    end = datetime.combine(last, time(6), tzinfo=BERLIN).astimezone(UTC)
    cron.start(begin)
    called = cron.lead(begin, end)
    assert [one for one, times in Counter(called).items() if times > 1] == [], "a job ran twice"

    nights = [first + timedelta(days=back) for back in range(days + 1)]
    database = cron.host.name != "app1"
    expected = set()
    for night in nights:
        if database:
            program = "mysql-backup-full" if night.weekday() == 6 else "mysql-backup-incremental"
            expected.add(Called(due_instant(night, BERLIN, time(2)), program))
        expected.add(Called(due_instant(night, BERLIN, time(4)), "mysql-backup-cleanup"))
    fixed = {
        one for one in called if one.words in ("mysql-backup-full", "mysql-backup-incremental", "mysql-backup-cleanup")
    }
    assert fixed == expected
    # Hourly jobs run each hour that passes, 25 in the long night's day and 23 in the short one's.
    hours = round((end - begin).total_seconds() / 3600)
    hourly = Counter(one.words for one in called if one not in fixed)
    both = {"mysql-backup-watch": hours}
    here = {"mysql-backup-binlogs": hours, "mysql-backup-full --retry-due": hours}
    assert hourly == both | (here if database else {"mysql-backup-cleanup --retry-due": hours})
