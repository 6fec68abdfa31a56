"""What a write needs besides writing, to outlive a power cut."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: until then a file just renamed there may be lost.

    Raises ``OSError``.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def give_to_owner_of(folder: Path, handle: int) -> None:
    """Where root made a file in somebody else's folder, make it his, like all the others there.

    Or a command that root runs once would keep the panel out of its own files. By the open file and
    never by its name, which the folder's owner may have given to another file. Raises ``OSError``.
    """
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)
