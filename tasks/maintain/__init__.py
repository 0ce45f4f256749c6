"""Keeping a staging small and provable: compaction, retention and seals."""
