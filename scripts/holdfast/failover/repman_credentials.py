"""Root's files as systemd hands them to a unit that runs as `repman` (LoadCredential=).

So the account of Replication Manager can read neither the token of the bot nor any other secret of the host: only
the units that need one are given it, for as long as they run.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from holdfast.config import DEFAULT_PATH, Config, load

CONFIGURATION = "config.yml"
TOKEN = "telegram-token"  # noqa: S105 - the name of a credential, not one
API_ACCOUNT = "replication-manager-api"
API_ACCOUNT_FILE = Path("/etc/holdfast/secrets/replication-manager-api")


def load_for_unit() -> Config:
    """The configuration, from the unit's credentials where there are any. Raises ConfigurationError."""
    folder = _folder()
    if folder is None:
        return load(DEFAULT_PATH)
    config = load(folder / CONFIGURATION)
    telegram = config.notifications.telegram
    if telegram is None:
        return config
    own = replace(telegram, token_file=folder / TOKEN)
    return replace(config, notifications=replace(config.notifications, telegram=own))


def api_account_file() -> Path:
    """Where the account of the API lies for this process."""
    folder = _folder()
    return API_ACCOUNT_FILE if folder is None else folder / API_ACCOUNT


def _folder() -> Path | None:
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(given) if given else None
