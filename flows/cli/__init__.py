"""The command line: commands, their execution, and what they print."""
