"""What reading legacy data raises on purpose. Messages never hold secrets."""

from __future__ import annotations


class LegacyDamaged(Exception):
    """What lies there is not what MinIO wrote: damaged, altered, or put together from different objects."""


class NotCovered(Exception):
    """The data are of a release, a mode or a feature that is not read; the message names it and says what to do."""


COPY_OVER_S3 = "copy it over S3 from a MinIO that still serves it, with 'strongroom import'"
"""What to do about data that are not read in place."""
