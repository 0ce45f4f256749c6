"""Which events a destination is to get, in which batches, and their delivery."""
