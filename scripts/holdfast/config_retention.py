"""Section `retention` of the configuration: what is kept offsite for how long, and how much one cleanup may delete."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.config_reader import NOT_NEGATIVE, POSITIVE, Rules, is_time
from holdfast.errors import ConfigurationError

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class RetentionConfig:
    """The policy. Days are counted back from the cleanup's moment; `time_of_day` and weeks are the server's zone.

    Raises ConfigurationError where two settings contradict each other.
    """

    point_in_time_days: int
    weekly_full_days: int
    binlog_days: int
    minimum_chains: int
    drill_maximum_age_days: int
    newest_backup_maximum_age_days: int
    orphan_minimum_age_hours: int
    object_lock_days: int
    maximum_backups: int
    maximum_binlogs: int
    maximum_share_percent: int
    full_weekday: str
    time_of_day: str

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name, smaller, margin, why in CONTRADICTIONS:
            if getattr(self, name) < getattr(self, smaller) + margin:
                raise ConfigurationError(
                    f"retention.{name}: is {getattr(self, name)}, but retention.{smaller} is {getattr(self, smaller)}",
                    meaning=why,
                    remedy=f"Raise {name}, or lower {smaller}.",
                )


# name, what it must not be smaller than, by how many days it must be larger, and why. The lock counts from the end of
# an upload, which is some hours later than what the cleanup counts from.
CONTRADICTIONS = (
    ("binlog_days", "point_in_time_days", 0, "Without its binlogs a moment cannot be restored."),
    ("weekly_full_days", "point_in_time_days", 0, "The fulls of those days are kept anyway."),
    ("point_in_time_days", "object_lock_days", 1, "The store would refuse to delete what is due."),
)

RETENTION_RULES: Rules = {
    "retention.point_in_time_days": POSITIVE,
    "retention.weekly_full_days": POSITIVE,
    "retention.binlog_days": POSITIVE,
    "retention.minimum_chains": POSITIVE,
    "retention.drill_maximum_age_days": POSITIVE,
    "retention.newest_backup_maximum_age_days": POSITIVE,
    "retention.orphan_minimum_age_hours": (lambda value: value >= 24, "24 or more: a running backup has none yet"),
    "retention.object_lock_days": NOT_NEGATIVE,
    "retention.maximum_backups": POSITIVE,
    "retention.maximum_binlogs": POSITIVE,
    "retention.maximum_share_percent": (lambda value: 1 <= value <= 90, "1 to 90"),
    "retention.full_weekday": (lambda value: value in WEEKDAYS, "a weekday in English, lower case"),
    "retention.time_of_day": (is_time, 'a time of day such as "04:00"'),
}
