"""The workload of the demo and the tests: a small shop, a writer on the application host, and its ledger."""

from __future__ import annotations

import secrets
from pathlib import Path

from support import ledger as ledgers
from support.hosts import Host, Lab, wait_until

FOLDER = "/var/lib/holdfast/writer"
TABLE = (
    "CREATE TABLE `{database}`.`{table}` (id BIGINT PRIMARY KEY, version INT NOT NULL, customer VARCHAR(100) NOT NULL,"
    " cents BIGINT NOT NULL, note TEXT NOT NULL, placed_at DATETIME(6) NOT NULL, KEY (customer), KEY (placed_at))"
)
DIGESTS = "SELECT id, SHA2(CONCAT_WS('|', version, customer, cents, note, placed_at), 256) FROM `{database}`.`{table}`"
FIRST_STEP = 1_000_000
WRITER_PORT = 6033


class Workload:
    """A database with tables that a writer fills; `ledger()` tells what was acknowledged."""

    def __init__(
        self,
        lab: Lab,
        database: str,
        tables: tuple[str, ...] = ("orders", "payments"),
        *,
        rate: float = 50,
        seed: int = 0,
        through_proxy: bool = False,
    ) -> None:
        """Name the database (made anew by `prepare`); `rate` is rows a second and table, at most.

        `through_proxy`: the writer calls the proxy of its own host, as an application does, and not the primary.
        """
        self.lab, self.database, self.tables, self.rate, self.seed = lab, database, tables, rate, seed
        self.through_proxy = through_proxy
        self.unit = f"holdfast-writer-{database.replace('_', '-')}"
        self.path = f"{FOLDER}/{database}.ledger"
        self._starts = 0

    def prepare(self) -> None:
        """Make the database, its tables and the writer's account on the primary, and put the writer on app1."""
        primary, app = self.lab.primary(), self.lab.app1
        password = secrets.token_urlsafe(18)
        account = f"'{self.database}_writer'@'10.203.%'"
        exists = f"SELECT 1 FROM information_schema.tables WHERE table_schema='{self.database}' LIMIT 1"
        if primary.sql(exists):
            primary.sql(f"DROP DATABASE `{self.database}`")
        tables = ";".join(TABLE.format(database=self.database, table=table) for table in self.tables)
        primary.sql(
            f"CREATE DATABASE IF NOT EXISTS `{self.database}`; {tables};"
            f"DROP USER IF EXISTS {account}; CREATE USER {account} IDENTIFIED BY '{password}' REQUIRE SSL;"
            f"GRANT SELECT, INSERT, UPDATE ON `{self.database}`.* TO {account};"
        )
        app.run("install", "-d", "-m", "0700", FOLDER)
        app.write(f"{FOLDER}/{self.database}.password", password, "0600")
        app.write(f"{FOLDER}/ca.pem", primary.read("/etc/mysql/tls/ca.pem"))
        app.write(f"{FOLDER}/writer.py", (Path(__file__).parent / "writer.py").read_text(), "0755")
        app.run("rm", "-f", self.path)

    def start(self) -> None:
        """Start the writer against the current primary or the proxy, and wait for its first acknowledged row."""
        before = self.acknowledged()
        self._starts += 1
        direct = ("--host", self.lab.primary().address)
        proxied = ("--host", self.lab.app1.address, "--port", str(WRITER_PORT), "--patience", "70")
        self.lab.app1.run(
            "systemd-run", "--quiet", "--collect", f"--unit={self.unit}", "/usr/bin/python3", f"{FOLDER}/writer.py",
            *(proxied if self.through_proxy else direct),
            "--user", f"{self.database}_writer", "--database", self.database,
            "--password-file", f"{FOLDER}/{self.database}.password", "--ca", f"{FOLDER}/ca.pem", "--ledger", self.path,
            "--rate", str(self.rate), "--seed", str(self.seed), "--first", str(self._starts * FIRST_STEP), *self.tables,
        )  # fmt: skip
        try:
            wait_until(lambda: self.acknowledged() > before, "the writer's first acknowledged row")
        except Exception as error:
            log = self.lab.app1.run("journalctl", "-n", "20", "--no-pager", "-u", self.unit, check=False).text
            raise type(error)(f"{error}\nledger: {self.ledger().errors[:3]}\n{log}") from error

    def stop(self) -> None:
        """Stop the writer after the statement in hand."""
        self.lab.app1.run("systemctl", "stop", self.unit, check=False)

    def write_for(self, rows: int) -> None:
        """Let the writer run until that many more rows are acknowledged, then stop it."""
        goal = self.acknowledged() + rows
        self.start()
        self.wait_for(goal)
        self.stop()

    def wait_for(self, total: int) -> None:
        """Wait until that many rows in all are acknowledged."""
        wait_until(lambda: self.acknowledged() >= total, f"{total} acknowledged rows", limit_seconds=120)

    def acknowledged(self) -> int:
        """Return how many writes were acknowledged so far (cheap: the host counts)."""
        done = self.lab.app1.run("grep", "-c", '"event": "ack"', self.path, check=False)
        return int(done.out or 0)

    def ledger(self) -> ledgers.Ledger:
        """Return the ledger as it is now."""
        return ledgers.parse(self.lab.app1.run("sh", "-c", f"cat {self.path} 2>/dev/null || true").out.splitlines())

    def rows_on(self, host: Host, table: str, *, account: str = "") -> dict[int, str]:
        """Return a table's rows as a server holds them: number to digest of the content."""
        rows = host.sql(DIGESTS.format(database=self.database, table=table), account=account)
        return {int(number): digest for number, digest in rows}

    def compare(
        self, host: Host, table: str, *, account: str = "",
        surely_by: float = ledgers.ALWAYS, not_after: float = ledgers.ALWAYS,
    ) -> ledgers.Comparison:  # fmt: skip
        """Compare a table on a server with the ledger, row by row."""
        found = self.rows_on(host, table, account=account)
        return ledgers.compare(self.ledger(), table, found, surely_by=surely_by, not_after=not_after)
