"""The one way to write a file whole: a partial beside it, owner and mode before its first byte, synced, renamed."""

from __future__ import annotations

import contextlib
import grp
import os
import pathlib
import pwd


def write_whole(
    path: pathlib.Path,
    content: bytes,
    *,
    mode: int = 0o644,
    owner: tuple[int, int] | None = None,
    partial: pathlib.Path | None = None,
    synced: bool = True,
) -> None:
    """Let a file hold some content, at every instant the old or the new; `owner` is user and group by number.

    A link gives way to the file, what it leads to stays; a directory gives way when it is empty. No secret is readable
    by others on the way. What is not `synced` may be gone after a power cut, as in /run it is anyway.
    """
    partial = partial or path.with_name(f".{path.name}.gx10-partial")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            if owner:
                os.fchown(target.fileno(), *owner)
            os.fchmod(target.fileno(), mode)
            target.write(content)
            target.flush()
            if synced:
                os.fsync(target.fileno())
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        partial.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if synced:
        sync_directory(path.parent)


def sync_directory(path: pathlib.Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def owner_of(user: str, group: str) -> tuple[int, int]:
    """A user and a group by number; raises LookupError with a name that this host does not have."""
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        raise LookupError(f"there is no user {user!r}") from None
    try:
        return uid, grp.getgrnam(group).gr_gid
    except KeyError:
        raise LookupError(f"there is no group {group!r}") from None
