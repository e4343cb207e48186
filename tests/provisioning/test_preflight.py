"""`preflight.yml` on hosts that stand: with production's shape, and with what a person gets wrong."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from support.hosts import Lab
from support.playbooks import rerun
from support.repository import read_yaml

EXAMPLE = "inventories/production/group_vars/all/vault.yml.example"
PRODUCTION = ("inventories/production", "tests/contract/production_in_lab")


def vault(folder: Path, **changed: str) -> str:
    """Write secrets under the names of vault.yml.example into a file that only its owner reads; return the option."""
    path = folder / "secrets.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({name: secrets.token_hex(20) for name in read_yaml(EXAMPLE)} | changed))
    return f"@{path}"


def test_productions_shape_passes_and_names_the_packages_that_nobody_here_has(lab: Lab, tmp_path: Path) -> None:
    done = rerun("preflight", "-e", vault(tmp_path), inventories=PRODUCTION)
    assert set(done.changed) == {"db1", "db2", "app1"}
    assert set(done.changed.values()) == {0}
    assert done.words.count("packages WITHOUT a candidate here: percona-server-server, percona-xtrabackup-84 ") == 2
    assert done.words.count("packages WITHOUT a candidate here: proxysql, replication-manager-osc ") == 1
    assert done.words.count("is ready for playbooks/site.yml") == 3


def test_a_placeholder_is_named_and_no_secret_is_printed(lab: Lab, tmp_path: Path) -> None:
    told = secrets.token_hex(20)
    changed = {"vault_mysql_server_fence_password": "CHANGE_ME", "vault_mysql_server_backup_password": told}
    done = rerun("preflight", "-e", vault(tmp_path, **changed), inventories=PRODUCTION, expect=2)
    assert "Not set, or still a placeholder: vault_mysql_server_fence_password." in done.words
    assert told not in done.text


def test_a_peer_that_does_not_answer_is_named(lab: Lab) -> None:
    silent = lab.primary().address.rpartition(".")[0] + ".99"
    done = rerun("preflight", "--limit", "app1", variables={"host_baseline_peers": [silent]}, expect=2)
    assert f"no answer to an uncut packet of 1500 bytes came from {silent} (" in done.words
