"""Syslog delivery: destinations, encoding, framing, and transports that confirm what was read."""
