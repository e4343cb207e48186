"""What the contract tests share: the repository's root and its roles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "defaults").is_dir())


def read_yaml(path: str) -> Any:
    """Return a file of the repository, parsed."""
    return yaml.safe_load((ROOT / path).read_text())


def defaults_of(role: str) -> dict[str, Any]:
    """Return what defaults/main.yml sets."""
    return read_yaml(f"roles/{role}/defaults/main.yml") or {}


def options_of(role: str) -> dict[str, dict[str, Any]]:
    """Return the inputs that meta/argument_specs.yml names."""
    options: dict[str, dict[str, Any]] = read_yaml(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return options
