"""Pack a folder so that the same content gives the same archive on every controller; print the names in it.

    pack.py FOLDER ARCHIVE DIRECTORY NAMES LINKS

DIRECTORY is where the folder's content comes to lie, NAMES where the links to its programs do, LINKS a JSON object from
a link's name to the program in the folder behind it. The archive is unpacked at /.
Runs on the controller, called by tasks/install.yml.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from pathlib import Path

SECONDS_RANGE = 700_000_000
SECONDS_START = 1_000_000_000  # 2001: old enough never to lie in the future


def members(folder: Path) -> list[Path]:
    """Return what is shipped: everything but Python's caches and hidden files, in a fixed order."""
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return sorted(path for path in found if not any(part == "__pycache__" or part[0] == "." for part in path.parts))


def content_time(folder: Path, names: list[Path]) -> int:
    """Return a time in seconds that is the same for the same content and differs for any other."""
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        digest.update(f"{name}\0{path.stat().st_mode & 0o100}\0".encode())
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return SECONDS_START + int.from_bytes(digest.digest()[:8]) % SECONDS_RANGE


def pack(folder: Path, archive: Path, directory: Path, links: dict[Path, str]) -> list[str]:
    """Write the archive, owned by root and closed to writers; return the paths of the folder's content on a host."""
    names = members(folder)
    time = content_time(folder, names)
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in names:
            member = tar.gettarinfo(folder / name, str(directory / name).lstrip("/"))
            executable = member.isdir() or member.mode & 0o100
            member.mode, member.mtime = 0o755 if executable else 0o644, time
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            if member.isfile():
                with (folder / name).open("rb") as source:
                    tar.addfile(member, source)
            else:
                tar.addfile(member)
        for link, program in sorted(links.items()):
            member = tarfile.TarInfo(str(link).lstrip("/"))
            member.type, member.linkname = tarfile.SYMTYPE, str(directory / program)
            member.mode, member.mtime = 0o777, time
            member.uname = member.gname = "root"
            tar.addfile(member)
    return [str(directory / name) for name in names]


if __name__ == "__main__":
    source, archive, directory, names = map(Path, sys.argv[1:5])
    links = {names / name: program for name, program in json.loads(sys.argv[5]).items()}
    sys.stdout.write("\n".join(pack(source, archive, directory, links)) + "\n")
