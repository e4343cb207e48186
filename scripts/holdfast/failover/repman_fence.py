"""Replication Manager's pre-script: have a unit fence and promote, wait for it, and return only if it promoted.

Replication Manager goes on to promote when its pre-script ends, however it ends. So there is no error here that
ends it: what cannot be done is told, and tried again for ever.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence

from holdfast import process
from holdfast.errors import HoldfastError, ToolError
from holdfast.failover.repman import (
    FENCE_UNIT,
    MANAGER_UNIT,
    PROTECTS_NOTHING,
    Alert,
    FenceUnit,
    fence_call,
    fence_unit,
)
from holdfast.failover.repman_spool import leave

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5
AGAIN_SECONDS = 30.0
COMMAND_SECONDS = 30.0
PROPERTIES = ("ActiveState", "SubState", "Result")

Pause = Callable[[float], None]


def promote(arguments: Sequence[str], pause: Pause = time.sleep) -> None:
    """Return once the unit of this call promoted; never otherwise. `arguments` are Replication Manager's seven."""
    mark = f"{time.time_ns() // 1_000_000}-{os.getpid()}"
    told = ""
    while True:
        try:
            unit = FENCE_UNIT.format(fence_call(arguments).instance(mark))
            if _ended(unit, pause) is FenceUnit.PROMOTED:
                return
            log.error(
                "%s refused: nothing was promoted. Replication Manager is restarted, so that it forgets it.", unit
            )
            # It stops this process too; were it to go on instead, it would promote what was refused.
            _sudo("systemctl", "restart", "--no-block", MANAGER_UNIT)
        except Exception as error:
            what = str(error) if isinstance(error, HoldfastError) else f"a bug: {type(error).__name__}: {error}"
            log.error("Replication Manager is held, as it is not known that it may promote; trying again: %s", what)
            if what != told:
                told = what
                _tell(what)
        pause(AGAIN_SECONDS)


def _ended(unit: str, pause: Pause) -> FenceUnit:
    """Start the unit unless systemd knows it already, and wait for its end."""
    state = _look(unit)
    if state is FenceUnit.UNKNOWN:
        _sudo("systemctl", "start", "--no-block", unit)
        state = _look(unit)
    while state is FenceUnit.WORKS:
        pause(POLL_SECONDS)
        state = _look(unit)
    if state is FenceUnit.UNKNOWN:
        raise ToolError(f"{unit}: systemd has forgotten it, so its outcome is not known")
    return state


def _look(unit: str) -> FenceUnit:
    argv = ("systemctl", "show", f"--property={','.join(PROPERTIES)}", unit)
    return fence_unit(process.run(argv, name="systemctl show", timeout_seconds=COMMAND_SECONDS).stdout.decode())


def _sudo(*argv: str) -> None:
    process.run(("sudo", "-n", *argv), name=f"sudo {' '.join(argv[:2])}", timeout_seconds=COMMAND_SECONDS)


def _tell(what: str) -> None:
    alert = Alert(
        f"Replication Manager is held before a promotion, as the fence cannot be run: {what}",
        f"Repair that, it is tried again every {AGAIN_SECONDS:g} s; or fence and promote by hand with mysql-fence.",
        PROTECTS_NOTHING,
    )
    try:
        leave(alert)
    except OSError as error:
        log.error("nobody was told of it: %s", error)
