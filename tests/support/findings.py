"""What the tables of tests of the watcher's rules share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from holdfast.backup.alarm_engine import Finding
from holdfast.backup.alarm_names import ALARMS
from holdfast.config_watch import LimitsConfig
from support.backups import START

LIMITS = LimitsConfig(25, 193, 3, 14, 26, 13, 50, 80, 60, 21, 80, 90, 600, 48, 15)
NOW = START + timedelta(hours=12)


def hours(value: float) -> datetime:
    """So many hours after NOW."""
    return NOW + timedelta(hours=value)


def said(findings: Sequence[Finding]) -> list[str]:
    """Each finding's key and what it says, once it is sure that it says all three things."""
    for finding in findings:
        assert finding.alarm in ALARMS
        assert finding.what and finding.meaning and finding.remedy
    return [f"{finding.key} | {finding.what}" for finding in findings]
