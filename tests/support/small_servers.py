"""Small mysqld instances on one lab host: a source, and a replica of it for each lane of the fault matrix.

Real servers whose restart, stop or stopped replication concerns nobody else: neither the pair nor its guards know them.
"""

from __future__ import annotations

from support.hosts import Host, wait_until

PORT = 33100
REPLICATOR, BACKUP = "lane_replicator", "holdfast_backup"
PASSWORD = "a-password-of-the-lab-alone"  # of servers that listen on loopback, for minutes
TABLE = "shop.rows_of_noise"
# what roles/mysql_server gives the account (vars/accounts.yml)
RIGHTS = "SELECT, RELOAD, PROCESS, LOCK TABLES, REPLICATION CLIENT, REPLICATION SLAVE, BACKUP_ADMIN"


class SmallServer:
    """One instance; its files lie below `folder`, its unit is named after it."""

    def __init__(self, host: Host, folder: str, number: int) -> None:
        """Number 0 is the source, which alone listens."""
        self.host, self.number = host, number
        self.folder = f"{folder}/{number}"
        self.unit = f"holdfast-lane-mysql-{number}"
        self.socket = f"{self.folder}/mysqld.sock"
        self.data = f"{self.folder}/data"
        self.account = f"{self.folder}/backup.cnf"
        self._root = f"{self.folder}/root.cnf"

    @property
    def configuration(self) -> str:
        """Its my.cnf."""
        listening = (
            f"port={PORT}\nbind_address=127.0.0.1" if self.number == 0 else "skip_networking\nsuper_read_only=ON"
        )
        return f"""[mysqld]
datadir={self.data}
socket={self.socket}
pid_file={self.folder}/mysqld.pid
log_error={self.folder}/mysqld.log
user=mysql
server_id={1000 + self.number}
{listening}
mysqlx=OFF
log_bin=binlog
gtid_mode=ON
enforce_gtid_consistency=ON
relay_log_recovery=ON
plugin_load_add=mysql_clone.so
innodb_redo_log_capacity=8M
innodb_buffer_pool_size=32M
max_connections=30
default_time_zone=+00:00
"""

    def make(self, template: str) -> None:
        """Make its files from a data directory that was initialised."""
        client = f"[client]\nsocket={self.socket}\nuser="
        self.host.shell(
            f"install -d -m 0750 -o mysql -g mysql {self.folder}\n"
            f"cp -a {template} {self.data}; rm -f {self.data}/auto.cnf\n"
        )
        self.host.write(f"{self.folder}/my.cnf", self.configuration)
        self.host.write(self._root, f"{client}root\n", "0600")
        self.host.write(self.account, f"{client}{BACKUP}\npassword={PASSWORD}\n", "0600")

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        argv = ("systemd-run", "--quiet", "--collect", f"--unit={self.unit}", "--property=Type=notify")
        self.host.run(*argv, "/usr/sbin/mysqld", f"--defaults-file={self.folder}/my.cnf")

    def stop(self) -> None:
        """Kill it; fine if it does not run."""
        self.host.run("systemctl", "kill", "--signal=KILL", self.unit, check=False)
        show = ("systemctl", "show", "--property=LoadState", "--value", self.unit)
        wait_until(lambda: self.host.run(*show).out.strip() == "not-found", f"{self.unit} is gone")

    def sql(self, statement: str) -> list[list[str]]:
        """Run SQL as root."""
        return self.host.sql(statement, account=self._root)


class SmallServers:
    """A source and its replicas."""

    def __init__(self, host: Host, folder: str, replicas: int) -> None:
        """Nothing is started yet."""
        self.host, self.folder = host, folder
        self.source = SmallServer(host, folder, 0)
        self.replicas = [SmallServer(host, folder, number) for number in range(1, replicas + 1)]

    def make(self) -> None:
        """Make and start them, with accounts, some megabytes of data and replication that is caught up."""
        self.remove()
        template = f"{self.folder}/template"
        self.host.shell(
            f"install -d -m 0755 {self.folder}; install -d -m 0750 -o mysql -g mysql {template}\n"
            "mysqld --no-defaults --innodb-redo-log-capacity=8M --initialize-insecure --user=mysql "
            f"--datadir={template} 2> {self.folder}/made.log\n"
        )
        for server in (self.source, *self.replicas):
            server.make(template)
            server.start()
        self.host.run("rm", "-rf", template)
        self.source.sql(
            f"CREATE USER {REPLICATOR}@'%' IDENTIFIED BY '{PASSWORD}'; "
            f"GRANT REPLICATION SLAVE ON *.* TO {REPLICATOR}@'%'; "
            f"CREATE USER {BACKUP}@localhost IDENTIFIED BY '{PASSWORD}'; GRANT {RIGHTS} ON *.* TO {BACKUP}@localhost; "
            f"CREATE DATABASE shop; CREATE TABLE {TABLE} (id INT PRIMARY KEY, noise VARBINARY(1024)); "
            f"SET cte_max_recursion_depth = 4000; INSERT INTO {TABLE} WITH RECURSIVE n (id) AS "
            f"(SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 4000) SELECT id, RANDOM_BYTES(1024) FROM n"
        )
        for replica in self.replicas:
            replica.sql(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', "
                f"SOURCE_PORT={PORT}, SOURCE_USER='{REPLICATOR}', SOURCE_PASSWORD='{PASSWORD}', "
                "SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1; START REPLICA"
            )
            self.catch_up(replica)

    def change(self, replica: SmallServer) -> None:
        """Change all of the data at the source, and wait until that replica has it."""
        self.source.sql(f"UPDATE {TABLE} SET noise = RANDOM_BYTES(1024)")
        self.catch_up(replica)

    def catch_up(self, replica: SmallServer, limit_seconds: int = 60) -> None:
        """Wait until a replica replicates and has what the source has now. AssertionError after the limit."""
        executed = "".join(row[0] for row in self.source.sql("SELECT @@global.gtid_executed")).replace("\n", "")
        waited = replica.sql(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', {limit_seconds})")
        assert waited == [["0"]], f"{replica.unit} did not catch up"
        query = "SELECT COUNT(*) FROM performance_schema.replication_connection_status WHERE service_state = 'ON'"
        wait_until(lambda: replica.sql(query) == [["1"]], f"{replica.unit} replicates")

    def start(self) -> None:
        """Start all again, after the host was rebooted."""
        for server in (self.source, *self.replicas):
            server.start()
        for replica in self.replicas:
            self.catch_up(replica)

    def remove(self) -> None:
        """Kill and remove them."""
        for server in (self.source, *self.replicas):
            server.stop()
        self.host.run("rm", "-rf", self.folder)
