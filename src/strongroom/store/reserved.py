"""The folders that stores keep for themselves, by which commands tell what a directory is before they load a store."""

INTERNAL = ".strongroom"
"""The folder of a server, in its directory."""

RESERVED = ".strongroom.sys"
"""The folder of gateways on a shared folder, beside the buckets, for what is not an object."""
