"""Strongroom: an encrypting S3 server and gateway."""

__version__ = "0.1.0"
