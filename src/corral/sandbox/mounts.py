"""What an instance sees besides its zygote's root, as detached mounts that are passed to it as descriptors: so no
zygote ever has the data folder in its namespace."""

import os

from corral.sandbox import syscalls

_HARMLESS = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV


def private_tmp(size_mib: int) -> int:
    """A new /tmp. What is in it counts as memory of whoever wrote it."""
    # 16 KiB a file on average: enough for any use of a temporary folder, and no room for a million empty files.
    options = {"size": f"{size_mib}m", "nr_inodes": str(size_mib * 64), "mode": "1777"}
    return syscalls.mount_detached("tmpfs", options, _HARMLESS)


def tree_beneath(data: int, path: str) -> int:
    """The folder `path` beneath the folder `data`, read-only. Symbolic links on the way are refused: the data folder
    belongs to the engine, which must not be able to aim us elsewhere."""
    folder = syscalls.open_beneath(data, path, os.O_PATH | os.O_DIRECTORY)
    try:
        tree = syscalls.open_tree(folder)
    finally:
        os.close(folder)
    try:
        syscalls.mount_setattr(tree, _HARMLESS | syscalls.MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(tree)
        raise
    return tree
