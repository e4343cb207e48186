"""From backups and archived binlogs back to a running server: plan, fetch, replay, find, run."""
