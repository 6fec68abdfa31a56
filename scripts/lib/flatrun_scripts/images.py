"""Container images made on this machine, from one static busybox.

No registry is asked. An image's tag comes from its content, so an image that is already here is
never built twice, and one whose content changed is never mistaken for the old one.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flatrun_scripts import packages
from flatrun_scripts.shell import ScriptError, must, run

ACCOUNTS = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/www:/bin/sh\n",
    "etc/group": b"root:x:0:\nwww:x:33:\n",
    "etc/nsswitch.conf": b"hosts: files dns\n",
}
FOLDERS = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var", "www")
ELF_CLASS_64 = 2
PT_INTERP = 3


@dataclass(frozen=True)
class Image:
    """A busybox image: its name, the files added to it and its settings (`docker import -c`)."""

    name: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    changes: Sequence[str] = ()


def build(image: Image, cache: Path) -> str:
    """Make an image unless it is there, and return its full name with the tag."""
    busybox = static_busybox(cache)
    archive = _archive(busybox, image.files)
    changes = ["ENV PATH=/bin", *image.changes]
    digest = hashlib.sha256(archive + "\n".join(changes).encode()).hexdigest()[:12]
    reference = f"{image.name}:{digest}"
    if not present(reference):
        options = [word for change in changes for word in ("-c", change)]
        must(
            ["docker", "import", *options, "-", reference],
            what=f"The image {reference} could not be made.",
            todo="Look at 'docker info' and at the free space of the disk.",
            data=archive,
        )
    return reference


def present(reference: str) -> bool:
    """Tell whether the Engine has an image."""
    return run(["docker", "image", "inspect", reference]).code == 0


def remove(reference: str) -> bool:
    """Remove an image by name and tell whether it is gone."""
    return run(["docker", "image", "rm", reference]).code == 0 or not present(reference)


def busybox_there(cache: Path) -> Path | None:
    """Return a static busybox that is already on the machine."""
    for folder in (Path("/"), cache / "busybox-static"):
        for name in ("bin/busybox", "usr/bin/busybox"):
            if is_static(folder / name):
                return folder / name
    return None


def static_busybox(cache: Path) -> Path:
    """Return a static busybox: the machine's own, else one unpacked from the archive's package."""
    there = busybox_there(cache)
    if there:
        return there
    cache.mkdir(parents=True, exist_ok=True)
    if shutil.which("apt-get") is None:
        raise ScriptError(
            "There is no static busybox to make images from.",
            "It is not installed, and there is no apt-get to fetch it with.",
            "Install a statically linked busybox as /bin/busybox.",
        )
    # Unpacked, not installed: on many systems the package would replace the plain busybox.
    packages.download("busybox-static", cache)
    there = busybox_there(cache)
    if there is None:
        raise ScriptError("The package busybox-static holds no static busybox.")
    return there


def is_static(path: Path) -> bool:
    """Tell whether a file is an ELF program that needs no loader."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    if data[:4] != b"\x7fELF":
        return False
    wide = data[4] == ELF_CLASS_64
    order: Literal["little", "big"] = "little" if data[5] == 1 else "big"
    offset_at, size_at = (32, 54) if wide else (28, 42)
    start = int.from_bytes(data[offset_at : offset_at + (8 if wide else 4)], order)
    size = int.from_bytes(data[size_at : size_at + 2], order)
    count = int.from_bytes(data[size_at + 2 : size_at + 4], order)
    heads = (data[start + index * size :][:4] for index in range(count))
    return all(int.from_bytes(head, order) != PT_INTERP for head in heads)


def _archive(busybox: Path, files: Mapping[str, bytes]) -> bytes:
    """Return the root file system as a tar whose bytes depend on nothing but its content."""
    applets = must([busybox, "--list"], what=f"{busybox} does not run on this machine.").out.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in FOLDERS:
            tar.addfile(_entry(name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755))
        _add_file(tar, "bin/busybox", busybox.read_bytes(), 0o755)
        for applet in sorted(set(applets) - {"busybox"}):
            link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            link.linkname = "busybox"
            tar.addfile(link)
        for name, data in sorted({**ACCOUNTS, **files}.items()):
            _add_file(tar, name, data, 0o755 if name.startswith("bin/") else 0o644)
    return buffer.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
