"""The Halo API stand-in as a process of its own: the child, and the handle its parent holds."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

_RETRY_POLICY = 30.0
_ROOT = Path(__file__).parents[1]


class StandInProcess:
    """The stand-in as a child process, so that it shares no interpreter with who measures it.

    A context manager. It ends with the context, and by itself when this process dies.

    Args:
        options: the command line's, by name: accounts, events, days, until, seed, port, and every
            one of `Switches`.

    Attributes:
        url: base URL.
        auth: the auth file's text.
        process: the child.
    """

    def __init__(self, **options: object) -> None:
        self._options = options
        self.url = ""
        self.auth = ""

    def __enter__(self) -> Self:
        own = [sys.executable, "-m", "sandbox.halo_api", "--leave-with-stdin", "--print-auth"]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*own, *_flags(self._options)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("http"):
                self.url = line.strip()
                return self
            self.auth += line
        code = self.process.wait()
        self._close()
        raise RuntimeError(f"the Halo API stand-in ended with exit code {code}")

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(_RETRY_POLICY)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def write_auth(self, file: Path) -> Path:
        """Write the auth file, readable by its owner alone; returns its path."""
        return write_private(file, self.auth)

    def stats(self) -> dict[str, Any]:
        """Every counter, in all and under `accounts` by account."""
        return self._ask("stats")

    def reset_counters(self) -> None:
        """Count from zero again."""
        self._ask("reset")

    def switch(self, **switches: object) -> dict[str, Any]:
        """Change switches; returns all of them."""
        return self._ask("switches", switches)

    def advance(self, by: timedelta) -> None:
        """Move the API's clock on."""
        self._ask("advance", {"seconds": by.total_seconds()})

    def _ask(self, what: str, values: Mapping[str, object] | None = None) -> dict[str, Any]:
        query = {name: json.dumps(value) for name, value in (values or {}).items()}
        url = f"{self.url}/-/{what}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=_RETRY_POLICY) as answer:  # noqa: S310 - our own
            found: dict[str, Any] = json.load(answer)
        return found


def write_private(file: Path, text: str) -> Path:
    """Write a file that only its owner can read; returns its path."""
    file.touch(0o600)
    file.chmod(0o600)
    file.write_text(text, encoding="utf-8")
    return file


def _flags(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        elif value is None:
            yield f"--{flag}=none"
        else:
            yield f"--{flag}={value}"
