"""Compare what my.cnf should say with what a server runs with: pure functions for the role's tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
WORDS = {"TRUE": "ON", "FALSE": "OFF", "YES": "ON", "NO": "OFF"}
POOL = "innodb_buffer_pool_size"
LISTS = {"sql_mode", "tls_version"}

# Variables that only a restart changes. Any other is tried live; the server's refusal (error 1238) puts it here too.
STATIC_NAMES = """
admin_address admin_port back_log bind_address binlog_gtid_simple_recovery create_admin_listener_thread datadir
default_time_zone ft_min_word_len innodb_autoinc_lock_mode innodb_buffer_pool_chunk_size
innodb_buffer_pool_instances innodb_data_file_path innodb_data_home_dir innodb_dedicated_server innodb_directories
innodb_doublewrite_dir innodb_doublewrite_files innodb_flush_method innodb_ft_min_token_size
innodb_log_group_home_dir innodb_numa_interleave innodb_open_files innodb_page_cleaners innodb_page_size
innodb_purge_threads innodb_read_io_threads innodb_rollback_on_timeout innodb_sort_buffer_size
innodb_temp_data_file_path innodb_undo_directory innodb_use_native_aio innodb_write_io_threads large_pages log_bin
log_error log_replica_updates lower_case_table_names open_files_limit performance_schema
performance_schema_digests_size pid_file plugin_dir port relay_log relay_log_recovery replica_load_tmpdir
report_host report_port secure_file_priv server_id_bits skip_external_locking skip_name_resolve skip_networking
skip_replica_start skip_show_database socket ssl_fips_mode table_open_cache_instances thread_handling thread_stack
tls_certificates_enforced_validation tmpdir
"""
STATIC = frozenset(STATIC_NAMES.split())


def canonical(name: str, value: Any) -> str:
    """Return a value as the server shows it: bytes for 256M, ON for true, 2 for 2.000000, lists sorted."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    text = str(value).strip().strip("'\"")
    size = re.fullmatch(r"(\d+)([KMGT])", text.upper())
    if size:
        return str(int(size[1]) * UNITS[size[2]])
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return f"{float(text):g}" if "." in text else str(int(text))
    if name in LISTS:
        return ",".join(sorted(part.strip().upper() for part in text.split(",")))
    return WORDS.get(text.upper(), text)


def as_the_server_rounds(name: str, value: str, running: Mapping[str, Any]) -> str:
    """Return a buffer pool's size rounded up to whole chunks of all instances, as the server does by itself."""
    if name != POOL or not value.isdigit():
        return value
    chunks = int(running.get("innodb_buffer_pool_chunk_size", 1)) * int(running.get("innodb_buffer_pool_instances", 1))
    return str(-(-int(value) // chunks) * chunks)


def same(name: str, wanted: str, running: str) -> bool:
    """Return whether two canonical values mean the same: ON is 1, words differ in case only, names may gain a path."""
    if wanted.upper() == running.upper() or {wanted.upper(), running.upper()} in ({"ON", "1"}, {"OFF", "0"}):
        return True
    # log_bin = binlog turns it ON and relay_log = relay shows up with the data directory before it.
    return (name == "log_bin" and running == "ON") or (name == "relay_log" and running.endswith("/" + wanted))


def differences(wanted: Mapping[str, Any], running: Mapping[str, Any], governed: list[str]) -> list[dict[str, Any]]:
    """Return what a running server lacks: name, value (as SET GLOBAL takes it), running, static.

    Names that the server does not show (options without a variable) are left out.
    """
    found = []
    for name in sorted(set(wanted) - set(governed)):
        shown = "time_zone" if name == "default_time_zone" else name
        if shown not in running:
            continue
        value = as_the_server_rounds(name, canonical(name, wanted[name]), running)
        now = canonical(name, running[shown])
        if not same(name, value, now):
            static = name in STATIC
            found.append({"name": name, "value": value, "running": now, "static": static})
    return found


def pending(
    lines: list[str], running: Mapping[str, Any], sources: list[Mapping[str, str]], governed: list[str]
) -> list[str]:
    """Return the names of what a restart would change, from what `my_print_defaults mysqld` prints; the last line wins.

    `sources` are rows of variables_info (name, source, path). What was set while the server ran is left out: whoever
    did that meant it. What the server has from a file that says it no longer would go back to its default.
    """
    by_hand = [row["name"] for row in sources if row["source"] == "DYNAMIC"]
    # variables that were renamed are shown under both names
    from_files = {row["name"].replace("slave", "replica") for row in sources if row["source"] != "DYNAMIC"}
    wanted: dict[str, Any] = {}
    for line in lines:
        name, is_set, value = line.removeprefix("--").removeprefix("loose").lstrip("-_").partition("=")
        wanted[name.replace("-", "_")] = value if is_set else "ON"
    changed = {found["name"] for found in differences(wanted, running, governed + by_hand)}
    shown = {"time_zone" if name == "default_time_zone" else name for name in wanted}
    return sorted(changed | (from_files - shown - set(governed)))


def persisted_names(text: str) -> list[str]:
    """Return the names in a mysqld-auto.cnf. Raises ValueError when it is not the JSON that MySQL writes."""
    names: set[str] = set()
    for section, entries in json.loads(text).items():
        if section != "Version" and isinstance(entries, dict):
            names |= {name for name, entry in entries.items() if isinstance(entry, dict) and "Value" in entry}
            inner = [entry for entry in entries.values() if isinstance(entry, dict) and "Value" not in entry]
            names |= {name for entry in inner for name in entry}
    return sorted(names - {"Metadata"})


def privileges(wanted: Mapping[str, str | list[str]]) -> dict[str, str]:
    """Return privileges by table as comma-separated upper-case strings, whichever way they were written."""
    parts = {table: value.split(",") if isinstance(value, str) else value for table, value in wanted.items()}
    return {table: ",".join(part.strip().upper() for part in value) for table, value in parts.items()}


class FilterModule:
    """Names that the role's tasks call."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "mysql_variable_differences": differences,
            "mysql_pending": pending,
            "mysql_persisted_names": persisted_names,
            "mysql_privileges": privileges,
        }
