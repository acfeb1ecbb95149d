"""The errors of reading legacy data. Messages never hold secrets."""

from __future__ import annotations


class LegacyDamaged(Exception):
    """The data are not what MinIO wrote: damaged, altered, or put together from different objects."""


class NotCovered(Exception):
    """The data are of a release, mode or feature that is not supported; the message names it and says what to do."""


COPY_OVER_S3 = "copy it over S3 from a MinIO that still serves it, with 'strongroom import'"
"""What to do about data that are not read in place."""
