"""Maintain: compact small files, seal the days that are over, drop what is older than retention."""
