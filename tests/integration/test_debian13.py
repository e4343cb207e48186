"""Every program runs on Debian 13 with its packages alone: a plain copy of scripts/, no pip."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest

from support.hosts import REPOSITORY, Host, Lab

FOLDER = "/tmp/holdfast-scripts"
PROGRAMS = sorted(path.name for path in (REPOSITORY / "scripts").glob("mysql_*.py"))
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY / "scripts").with_suffix("").parts)
    for path in (REPOSITORY / "scripts" / "holdfast").rglob("*.py")
)


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[Host]:
    """app1 with a plain copy of scripts/ from the repository."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(
            REPOSITORY / "scripts", arcname=".", filter=lambda entry: None if "__pycache__" in entry.name else entry
        )
    lab.app1.run("mkdir", "-p", FOLDER)
    lab.app1.run("tar", "-x", "-C", FOLDER, stdin=buffer.getvalue())
    yield lab.app1
    lab.app1.run("rm", "-rf", FOLDER)


def test_it_is_debian_13(host: Host) -> None:
    assert host.run("cat", "/etc/debian_version").out.startswith("13")
    assert host.run("python3", "--version").out.startswith("Python 3.13")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(host: Host, program: str) -> None:
    done = host.run("python3", f"{FOLDER}/{program}", "--help")
    assert done.out.startswith("usage: ")
    assert done.err == ""


def test_every_module_imports(host: Host) -> None:
    script = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    host.run("env", f"PYTHONPATH={FOLDER}", "python3", "-W", "error::SyntaxWarning", "-c", script, *MODULES)
