"""A restore beside the server on a lab host: the directory, the instance in it, and their end."""

from __future__ import annotations

from support import faults
from support.hosts import Host, Result, wait_until
from support.site import Site

RESTORING = "bin/mysql-restore .*run|mysql_clone_stream.py apply|^lz4 -d|^tar -x"


class Restored:
    """What `mysql-restore run` makes of a site's backups."""

    def __init__(self, site: Site, host: Host, name: str) -> None:
        """Name the directory below the site's recovery directory."""
        self.site, self.host = site, host
        self.directory = f"{site.folder}/restore/{name}"
        self.account = f"{self.directory}/client.cnf"

    def run(self, *target: str, expect: int = 0) -> Result:
        """Restore to a target. AssertionError unless it exits as expected."""
        return self.site.run(self.host, "mysql-restore", *self.arguments(*target), expect=expect)

    def arguments(self, *target: str) -> tuple[str, ...]:
        """Return the words after the program's name."""
        return "run", *target, "--directory", self.directory

    def value(self, statement: str) -> str:
        """Return the first column of the first row from the instance."""
        return self.host.value(statement, account=self.account)

    def pid(self) -> int:
        """Return the instance's process."""
        return int(self.host.read(f"{self.directory}/mysqld.pid"))

    def kill_half_way(self, *target: str) -> None:
        """Start a restore and kill -9 it while its side server runs. AssertionError if something of it stays."""
        job = self.host.start(*self.site.command("mysql-restore", *self.arguments(*target)))
        side = f"mysqld --defaults-file={self.directory}/my.cnf"
        try:
            wait_until(lambda: bool(faults.pids(self.host, side)) or job.poll() is not None, "the side server starts")
            assert job.poll() is None, "it was over too soon: " + b"".join(job.communicate()).decode()
            faults.kill(self.host, f"bin/mysql-restore .*{self.directory}")
        finally:
            job.communicate(timeout=60)
        wait_until(lambda: not faults.pids(self.host, f"{side}|{RESTORING}"), "all of it is gone", limit_seconds=30)

    def remove(self) -> None:
        """Stop the instance and remove the directory."""
        self.site.run(self.host, "mysql-restore", "stop", self.directory, expect=None)
        self.host.run("rm", "-rf", self.directory)
