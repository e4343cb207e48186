"""Holdfast: backups, recovery and failover of MySQL; shipped to hosts as a plain folder."""
