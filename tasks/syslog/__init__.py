"""Delivery to a sensor: encoding, framing and sockets, which know nothing of each other.

- ``destination``: the sensor URL and its options
- ``message``: the syslog header, RFC 3164 and RFC 5424
- ``framing``: where one message ends and the next begins
- ``transport``: what a delivery promises, and the way to one (``udp``, ``stream``, ``tls``)
"""
