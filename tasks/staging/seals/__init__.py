"""Seals: what a day came to, hashed, chained and signed."""
