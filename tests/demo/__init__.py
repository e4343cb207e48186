"""The demo, in two acts."""
