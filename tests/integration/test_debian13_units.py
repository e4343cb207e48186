"""The programs' own unit tests, on a Debian 13 host with its Python, its rclone and its libraries."""

from __future__ import annotations

import io
import tarfile

from support.hosts import REPOSITORY, Lab

FOLDER = "/tmp/holdfast-units"
# what the tests and their helpers read besides the programs: links, units, the lab's addresses
PARTS = ("pyproject.toml", "scripts", "tests/unit", "tests/support", "roles", "templates", "molecule/lab", "docs")
# of Ansible's plugins, which run on the controller with its packages
NOT_FOR_HOSTS = (
    "test_mysql_roles.py",
    "test_offsite_storage.py",
    "test_recover_datacenter.py",
    "test_recover_server.py",
    "test_recover_table.py",
    "test_rolling_restart.py",
    "test_stolen_key.py",
)


def test_unit_tests_pass_on_debian_13(lab: Lab) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for part in PARTS:
            archive.add(
                REPOSITORY / part, arcname=part, filter=lambda item: None if "__pycache__" in item.name else item
            )
    lab.app1.run("mkdir", "-p", FOLDER)
    try:
        lab.app1.run("tar", "-x", "-C", FOLDER, stdin=buffer.getvalue())
        ignored = [f"--ignore=tests/unit/{name}" for name in NOT_FOR_HOSTS]
        options = ("-q", "-p", "no:cacheprovider", "--numprocesses=auto")
        argv = ["python3", "-m", "pytest", *options, *ignored, "tests/unit"]
        done = lab.app1.run("env", "-C", FOLDER, *argv, check=False, timeout_seconds=600)
        failed = [line for line in done.out.splitlines() if line.startswith(("FAILED", "ERROR"))]
        assert done.status == 0, "\n".join([done.text[-6000:], *failed])
        assert " passed" in done.out
    finally:
        lab.app1.run("rm", "-rf", FOLDER)
