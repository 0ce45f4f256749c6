"""What somebody may do to a sealed staging of `sealed_days`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.staging.seals.seal import parse_seal

Tampering = Callable[[Path], None]


def rewritten(path: Path, **changes: Any) -> None:
    """Change what a seal says; its form stays right."""
    was = parse_seal(path.read_bytes())
    assert was is not None
    path.write_bytes(was.model_copy(update=changes).to_bytes())


def one(folder: Path, pattern: str) -> Path:
    """The one file that a pattern names."""
    [path] = folder.glob(pattern)
    return path


def seals_in(staging: Path) -> list[Path]:
    """The files of its seals, in the order of writing."""
    paths = [*(staging / "seals" / "account=alpha").iterdir()]
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns)


def change_byte(staging: Path) -> None:
    """A byte of a Parquet file."""
    path = one(staging, "normalized/*/date=2026-03-02/*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def exchange(staging: Path) -> None:
    """A file has the content of another one."""
    one(staging, "deliveries/*/*/date=2026-03-02/*").write_bytes(
        one(staging, "deliveries/*/*/date=2026-03-03/*").read_bytes()
    )


def remove_file(staging: Path) -> None:
    """A ledger file is removed."""
    one(staging, "deliveries/*/*/date=2026-03-02/*").unlink()


def put_a_pipe(staging: Path) -> None:
    """A named pipe that nobody writes to is in the place of a file."""
    path = one(staging, "raw/*/date=2026-03-02/*")
    path.unlink()
    os.mkfifo(path)


def remove_seal(staging: Path) -> None:
    """A seal in the middle is removed."""
    seals_in(staging)[1].unlink()


def edit_seal(staging: Path) -> None:
    """The sums of a seal in the middle are edited."""
    _raise_sums(seals_in(staging)[1])


def edit_newest_seal(staging: Path) -> None:
    """The sums of the newest seal are edited."""
    _raise_sums(seals_in(staging)[-1])


def _raise_sums(path: Path) -> None:
    was = parse_seal(path.read_bytes())
    assert was is not None
    sums = {"raw": was.sums.raw + 1, "normalized": was.sums.normalized + 1}
    rewritten(path, sums=was.sums.model_copy(update=sums))


def copy_seal(staging: Path) -> None:
    """A seal is there twice."""
    path = staging / "seals/account=alpha/2026-03-02.json"
    path.with_name("2026-03-02.2.json").write_bytes(path.read_bytes())


def rename_seal(staging: Path) -> None:
    """A seal bears the name of another day."""
    path = staging / "seals/account=alpha/2026-03-03.json"
    path.rename(path.with_name("2026-03-04.json"))


def remove_all_seals(staging: Path) -> None:
    """All seals are removed."""
    shutil.rmtree(staging / "seals")
