"""The store on a shared folder: buckets are folders, objects are files at their own path, and there is no database.

Others may mount the folder too, and any number of gateways may serve it. What is where:

- ``names``: keys as paths, what is refused
- ``layout``: the bytes of our files
- ``folder``: the tree: walking it without ever being led out of it, making and removing folders, locks
- ``beside``: what belongs to a plain object, in extended attributes or sidecars
- ``objects``: finding, placing and removing objects
- ``drafts``: files that are being written
- ``writing``, ``reading``: the Writer and Reader of the protocol
- ``listing``: walking folders in the order of keys
- ``uploads``, ``buckets``, ``sweep``: what their names say
- ``probe``: what a file system can do, and what it cannot
- ``store``: :class:`NasStore`, which puts them together
"""

from strongroom.store.nas.probe import file_system_warnings
from strongroom.store.nas.store import NasStore

__all__ = ["NasStore", "file_system_warnings"]
