"""Asking the keeper, for guards and managers."""

from __future__ import annotations

from holdfast.config_failover import FailoverConfig
from holdfast.failover.https import call
from holdfast.failover.record import Record, SwapAnswer, SwapRequest
from holdfast.failover.wire import from_json, optional_from_json, to_json


class KeeperClient:
    """One host's way to the keeper. Each call takes `timeout_seconds` at most.

    Every method may raise UnreachableError (a swap may have been done all the same), RefusedError (no part here, or
    the keeper's file is damaged) and WireError (garbage).
    """

    def __init__(self, failover: FailoverConfig, host: str, timeout_seconds: float) -> None:
        self._failover = failover
        self._host = host
        self._timeout_seconds = timeout_seconds

    def record(self) -> Record | None:
        """The record; None when there is none."""
        return optional_from_json(Record, self._call("GET", "/record"), "record")

    def swap(self, request: SwapRequest) -> SwapAnswer:
        """Ask for a change; `granted` only when it is durable."""
        answer = self._call("POST", "/swap", {"host": self._host, "request": to_json(request)})
        return from_json(SwapAnswer, answer)

    def _call(self, method: str, path: str, document: dict[str, object] | None = None) -> dict[str, object]:
        keeper = self._failover.keeper
        return call(
            keeper.address, keeper.port, method, path, document, self._failover.tls, keeper.host, self._timeout_seconds
        )
