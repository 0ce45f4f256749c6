"""Delivery to a sensor: encoding, framing and sockets, which know nothing of each other.

- ``sensor_url``: the URL of a destination, and the table of its kinds
- ``destination``: the options that every kind has; those of one kind are in its module
- ``message``: the syslog header, RFC 3164 and RFC 5424
- ``framing``: where one message ends and the next begins
- ``transport``: what a delivery promises, whatever the kind (``udp``, ``tcp``, ``tls``, ``relp``)
"""
