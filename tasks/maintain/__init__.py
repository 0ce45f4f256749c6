"""Maintenance of a staging: compaction of days that are over."""
