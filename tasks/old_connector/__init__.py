"""The vendor's Python 2 connector: what it left behind, and how its accounts go on here."""
