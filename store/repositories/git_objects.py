"""Object ids as git computes them, for clients that compare them with their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha1


def _oid(kind: str, content: bytes) -> str:
    return sha1(
        b"%s %d\0%s" % (kind.encode(), len(content), content), usedforsecurity=False
    ).hexdigest()


def blob_oid(content: bytes) -> str:
    """Return the id of a file's content.

    >>> blob_oid(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return _oid("blob", content)


def pointer(digest: str, size_bytes: int) -> bytes:
    """Return the text that git keeps in place of a large file (Git LFS, pointer file v1)."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size_bytes}\n"
    ).encode()


def tree_oids(oid_by_path: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the id of every folder by its path; that of the root by ``""``.

    >>> tree_oids({})
    {'': '4b825dc642cb6eb9a060e54bf8d69288fbee4904'}
    """
    entries_by_folder: dict[str, dict[str, tuple[bool, str]]] = {"": {}}
    for path, oid in dict(oid_by_path).items():
        folder, _, name = path.rpartition("/")
        entries_by_folder.setdefault(folder, {})[name] = (False, oid)
        while folder:
            above = folder.rpartition("/")[0]
            entries_by_folder.setdefault(above, {})
            folder = above
    oid_by_folder: dict[str, str] = {}
    # Deeper folders first: a folder's id is made of those in it.
    for folder in sorted(entries_by_folder, key=_depth, reverse=True):
        oid_by_folder[folder] = _tree_oid(entries_by_folder[folder])
        if folder:
            above, _, name = folder.rpartition("/")
            entries_by_folder[above][name] = (True, oid_by_folder[folder])
    return dict(sorted(oid_by_folder.items()))


def commit_oid(
    tree: str, parent: str | None, author: str, created_at: datetime, message: str
) -> str:
    """Return the id of a commit by `author` on top of `parent`."""
    signature = f"{author} <{author}@isogloss> {int(created_at.timestamp())} +0000"
    lines = [f"tree {tree}"]
    if parent is not None:
        lines.append(f"parent {parent}")
    lines += [f"author {signature}", f"committer {signature}", "", message]
    return _oid("commit", ("\n".join(lines) + "\n").encode())


def _depth(folder: str) -> int:
    return folder.count("/") + 1 if folder else 0


def _tree_oid(entries: Mapping[str, tuple[bool, str]]) -> str:
    def order(name: str) -> bytes:
        return (name + "/" if entries[name][0] else name).encode()

    content = b"".join(
        b"%s %s\0%s"
        % (
            b"40000" if entries[name][0] else b"100644",
            name.encode(),
            bytes.fromhex(entries[name][1]),
        )
        for name in sorted(entries, key=order)
    )
    return _oid("tree", content)
