"""A role's inputs are told twice, in defaults and in argument_specs: both must say the same."""

from __future__ import annotations

import re
from typing import Any

import pytest

from holdfast.failover import guard_steps
from support.repository import ROLES, ROOT, defaults_of, options_of, read_yaml

SECRET = re.compile(r"_(password|passphrase|token|secrets|salt|key)$")
# a secret that only one setting of another input asks for; the role's preflight refuses it missing then
SECRETS_OF_AN_OPTION = {
    "holdfast_programs_telegram_token",
    "mysql_failover_robot_password",
    "mysql_server_replication_manager_password",
}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_name_the_same_inputs_with_the_same_values(role: str) -> None:
    told = {name: option["default"] for name, option in options_of(role).items() if "default" in option}
    assert told == defaults_of(role)


@pytest.mark.parametrize("role", ROLES)
def test_an_input_without_default_is_required(role: str) -> None:
    open_inputs = {
        name for name, option in options_of(role).items() if "default" not in option and not option.get("required")
    }
    assert open_inputs <= SECRETS_OF_AN_OPTION


@pytest.mark.parametrize("role", ROLES)
def test_secrets_have_no_default_and_can_be_hidden(role: str) -> None:
    secrets = {name: option for name, option in options_of(role).items() if SECRET.search(name)}
    for name, option in secrets.items():
        assert "default" not in option, f"{name} has a default"
        assert option.get("required") or name in SECRETS_OF_AN_OPTION, f"{name} is not required"
    if secrets:
        assert defaults_of(role)[f"{role}_no_log"] is True


@pytest.mark.parametrize("role", ROLES)
def test_every_input_carries_the_roles_name_and_a_description(role: str) -> None:
    def undescribed(options: dict[str, Any]) -> list[str]:
        return [name for name, option in options.items() if not option.get("description")]

    options = options_of(role)
    assert [name for name in options if not name.startswith(f"{role}_")] == []
    assert undescribed(options) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_its_readme_and_the_four_verbs(role: str) -> None:
    assert (ROOT / "roles" / role / "README.md").is_file()
    imported = re.findall(
        r"(?:import|include)_tasks:\s+(?:file: )?(\w+)\.yml", (ROOT / "roles" / role / "tasks/main.yml").read_text()
    )
    assert {"preflight", "configure"} <= set(imported)
    assert set(imported) <= {"preflight", "install", "configure", "run"}


def test_every_series_of_xtrabackup_has_the_repository_that_carries_it() -> None:
    packages = defaults_of("mysql_backup")["mysql_backup_xtrabackup_packages"]
    repositories = read_yaml("roles/mysql_backup/vars/main.yml")["__mysql_backup_xtrabackup_repositories"]
    assert set(packages) == set(repositories)


@pytest.mark.parametrize("path", sorted((ROOT / "roles").rglob("*.yml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_of_a_role_can_be_read_in_one_go(path: Any) -> None:
    text = path.read_text()
    assert "ignore_errors" not in text
    if path.parent.name in ("tasks", "handlers"):
        assert text.count("\n") <= 120


def test_guard_and_role_attach_a_replica_that_hears_its_source_every_2_s() -> None:
    """MySQL's own 30 s are longer than the manager's window of 10 s: a silent source would look like a dead one."""
    role = (ROOT / "roles" / "mysql_replication" / "tasks" / "attach.yml").read_text()
    assert "SOURCE_HEARTBEAT_PERIOD=2" in role
    assert "SOURCE_HEARTBEAT_PERIOD=2" in guard_steps.CHANGE_SOURCE
