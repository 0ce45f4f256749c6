"""The ledger of every attempt, and what is pending by it."""
