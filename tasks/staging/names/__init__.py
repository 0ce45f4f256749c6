"""Names of staged files: all that is read from a path alone."""
