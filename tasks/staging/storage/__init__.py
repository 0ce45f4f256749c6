"""Where a staging lies: a folder or object storage, its files, and the leases on it."""
