"""Files that are either absent, old or complete, and refusals to write said in one line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from rlhf_lab.errors import InputError

_FIXES = {
    errno.ENOSPC: "free disk space or choose another folder",
    errno.EDQUOT: "free disk space or choose another folder",
    errno.EROFS: "choose a folder that is not read-only",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EEXIST: "a file has that name: choose another folder",
    errno.ENOTDIR: "a file has that name: choose another folder",
}


@contextlib.contextmanager
def writing_to(folder: str | Path) -> Iterator[None]:
    """Turn a failure to write into one line that names the folder and the fix.

    Raises:
        InputError: in place of any ``OSError`` (disk full, read-only, no permission, not a folder).
    """
    try:
        try:
            yield
        except SafetensorError as error:  # its writer hides the errno in the text
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise
            raise OSError(int(code.group(1)), str(error)) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        fix = _FIXES.get(error.errno or 0, "choose another folder")
        raise InputError(
            "output_dir", str(folder), "a folder that can be written", f"{fix} ({reason})"
        ) from None


def sync(path: Path) -> None:
    """Wait until a file, or the list of names of a folder, has reached the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder, and needs no such call
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: str | Path, data: bytes | str) -> Path:
    """Write a file so that it is either absent, old, or complete. Text is UTF-8.

    Raises:
        InputError: when the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)
    return path


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
