from __future__ import annotations

import errno

import pytest

from holdfast import errors


def test_an_error_reads_as_what_happened_what_it_means_and_what_to_do() -> None:
    error = errors.ToolError("lz4: exited with status 1", meaning="disk full", remedy="free some space")
    assert str(error) == "lz4: exited with status 1\ndisk full\nfree some space"
    assert str(errors.ToolError("only what")) == "only what"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.UsageError, 2),
        (errors.ConfigurationError, 3),
        (errors.ToolError, 4),
        (errors.StorageError, 5),
        (errors.LockedError, 6),
        (errors.NotThisHostError, 75),
    ],
)
def test_exit_statuses_are_those_of_the_readme(kind: type[errors.HoldfastError], status: int) -> None:
    assert kind.exit_code == status


def test_code_that_handles_errors_does_not_swallow_sigterm() -> None:
    assert not issubclass(errors.Stopped, Exception)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_bug(number: int) -> None:
    error = errors.disk_full(OSError(number, "no room", "/var/lib/holdfast/state/lineage.new"))
    assert error is not None
    assert (error.what, error.exit_code) == (
        "the disk is full: /var/lib/holdfast/state/lineage.new could not be written",
        4,
    )


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "no"), ValueError("no")])
def test_other_errors_are_what_they_were(error: Exception) -> None:
    assert errors.disk_full(error) is None
