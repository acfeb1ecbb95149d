"""Which tests run in one process where pytest-xdist has several: those that share servers."""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

_OVER = re.compile(r"[^\[]*\[(over-[a-z0-9]+)")


class BySharedServers(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """The tests of a directory over one way of serving go to one process, and of the rest those of one file.

    A server that tests share is then started once for each directory that needs it, not in every process.
    """

    def _split_scope(self, nodeid: str) -> str:
        over = _OVER.match(nodeid)
        file = nodeid.partition("::")[0]
        return f"{file.rpartition('/')[0]} {over[1]}" if over else file
