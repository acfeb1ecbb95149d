"""The store on a shared folder: buckets are folders, objects are files at their own path, and there is no database.

Others may mount the folder too, and any number of gateways may serve it. What is where:

- ``names``: keys as paths, what is refused
- ``layout``: the bytes of our files
- ``folder``: the tree: walking it without being led out of it, making and removing folders
- ``locks``: the locks of names
- ``beside``: what belongs to a plain object, in extended attributes or sidecars
- ``finding``: finding out what a file holds
- ``objects``: giving objects their names, changing and removing them
- ``drafts``: files that are being written
- ``writing``, ``reading``: the Writer and Reader of the protocol
- ``walk``, ``listing``: going through folders in the order of keys, and pages of that
- ``uploads``, ``buckets``, ``sweep``: multipart uploads, buckets, removing what was left unfinished
- ``left``: what a MinIO left in the folder
- ``probe``: what a file system can do, and what it cannot
- ``threads``: running what blocks in threads
- ``store``: :class:`NasStore`, which puts them together
"""

from strongroom.store.nas.probe import file_system_warnings
from strongroom.store.nas.store import NasStore

__all__ = ["NasStore", "file_system_warnings"]
