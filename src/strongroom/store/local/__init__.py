"""The store on a local directory: an index in SQLite, small objects inside it, large ones as blob files beside it.

Several processes may use one directory at once. What is where:

- ``schema``: the tables, and opening the database
- ``commits``: writing to the index, many writes in one transaction
- ``blobs``: the files, their sweep after a crash, and their removal while others may still read them
- ``index``: the statements that read and write objects, buckets and uploads
- ``trash``: the statements about blobs that are to be removed
- ``listing``: range scans that skip over common prefixes
- ``scans``: on which connection and in which thread scans run
- ``room``: what is kept free on the disk, so that objects can still be removed
- ``writing``, ``reading``: the Writer and Reader of the protocol
- ``store``: :class:`LocalStore`, which puts them together
"""

from strongroom.store.local.store import LocalStore

__all__ = ["LocalStore"]
