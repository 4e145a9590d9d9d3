"""Names of files and folders: paths of this machine, or URLs such as s3://bucket/name, which pathlib would take apart."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(name: str) -> bool:
    """Return whether a name is a URL."""
    return URL.match(name) is not None


def localized(name: str) -> str:
    """Return the path that a file:// URL names; other names as they are."""
    return url2pathname(urlsplit(name).path) if name.lower().startswith("file://") else name


def join(folder: str, below: str) -> str:
    """Return the name of what stands at the path `below` in a folder."""
    if not is_url(folder):
        return str(Path(folder) / below)
    return posixpath.join(folder, below.replace(os.sep, "/")) if below not in ("", ".") else folder


def parent(name: str) -> str:
    """Return the name of the folder that holds a file."""
    return posixpath.dirname(name) if is_url(name) else str(Path(name).parent)


def last(name: str) -> str:
    """Return the last part of a name; of a path, the one that it has when links and dots are followed."""
    return posixpath.basename(name.rstrip("/")) if is_url(name) else Path(name).resolve().name


def stem(name: str) -> str:
    """Return a file's name without its folder and its suffix."""
    path = Path(posixpath.basename(name) if is_url(name) else name)
    return path.stem or path.name
