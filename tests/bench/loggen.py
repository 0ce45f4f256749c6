"""`loggen`, the generator of messages that comes with syslog-ng."""

from __future__ import annotations

import shutil


def command(port: int, *options: str, size: int, number: int, rate: int) -> list[str]:
    """What sends messages to a port of loopback.

    Args:
        port: The receiver's.
        options: The transport and format, as `loggen` names them.
        size: Bytes a message.
        number: How many.
        rate: Messages a second.

    Raises:
        FileNotFoundError: It is not installed.
    """
    program = shutil.which("loggen")
    if program is None:
        raise FileNotFoundError("loggen is missing; it comes with syslog-ng-core")
    amount = [f"--size={size}", f"--number={number}", f"--rate={rate}"]
    return [program, *options, *amount, "--interval=600", "--quiet", "127.0.0.1", str(port)]
