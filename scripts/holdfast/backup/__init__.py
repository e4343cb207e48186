"""Taking, storing and reading backups."""
