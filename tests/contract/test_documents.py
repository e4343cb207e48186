"""What the documents say about hosts, exit codes and folders is what the code does."""

from __future__ import annotations

import re
import subprocess

import pytest

from holdfast.errors import ExitCode
from support.repository import ROLES, ROOT, read_yaml

HOSTS = (ROOT / "docs/hosts.md").read_text()
README = (ROOT / "README.md").read_text()
FILE_ROW = re.compile(r"^\| `(/[^`]+)` \|.*\| `(\w+)` \|$", re.MULTILINE)
OURS = re.compile(r"""(?:dest|path): ["']?(/(?:etc|usr/local|var/lib/holdfast|var/log/holdfast)[^\s"'{},]*)""")
# made by Debian, or a folder on the way to a file that the page names
NOT_LISTED = {"/etc/localtime", "/etc/mysql", "/etc/holdfast", "/etc/nftables.d", "/etc/systemd/network"}


def text_of(role: str) -> str:
    """Return every task and variable of a role in one text."""
    folders = ("tasks", "vars", "defaults", "templates", "handlers")
    return "\n".join(
        path.read_text()
        for folder in folders
        for path in sorted((ROOT / "roles" / role / folder).rglob("*"))
        if path.is_file()
    )


@pytest.mark.parametrize("role", ROLES)
def test_every_path_that_a_role_writes_is_on_the_page_of_hosts(role: str) -> None:
    written = {path.rstrip("/") for path in OURS.findall(text_of(role)) if not path.endswith("/")}
    listed = {path for path, _ in FILE_ROW.findall(HOSTS)}
    missing = {
        path
        for path in written - NOT_LISTED
        if path not in listed and not any(entry.startswith(f"{path}/") for entry in listed)
    }
    assert missing == set()


@pytest.mark.parametrize(("path", "role"), FILE_ROW.findall(HOSTS))
def test_every_path_on_the_page_of_hosts_is_its_roles(path: str, role: str) -> None:
    assert role in ROLES
    named = path if path in text_of(role) else path.rpartition("/")[2]
    assert named in text_of(role)


def test_the_page_of_hosts_names_every_port_that_is_opened() -> None:
    ports = set(read_yaml("roles/host_baseline/defaults/main.yml")["host_baseline_public_tcp_ports"])
    for path in ROOT.glob("inventories/*/group_vars/*/host_baseline.yml"):
        ports |= set(read_yaml(str(path.relative_to(ROOT))).get("host_baseline_private_tcp_ports", []))
    assert {int(port) for port in re.findall(r"^\| (\d+)/tcp ", HOSTS, re.MULTILINE)} == ports


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: code.name)
def test_every_exit_code_is_in_the_readme(code: ExitCode) -> None:
    assert re.search(rf"^\| {code.value} \| ", README, re.MULTILINE)


def test_the_readme_has_no_exit_code_that_no_program_returns() -> None:
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {code.value for code in ExitCode}


def test_every_folder_is_on_the_readmes_map() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = {path.partition("/")[0] for path in tracked if "/" in path and not path.startswith(".")}
    assert {folder for folder in folders if f"| `{folder}/` |" not in README} == set()
