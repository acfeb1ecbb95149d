"""A pool of threads for blocking work, which goes on working if the system allows this process no more threads."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor


class Threads(ThreadPoolExecutor):
    """Up to ``most`` threads. The first is started at once; if no more can be started (a limit of the container or the
    service), work waits for those that there are. Raises OSError if not even one can be started.

    The standard library's pool queues the work and then starts a thread. If that fails, it raises, and yet an existing
    thread does the work later: it might write to a file that was given up meanwhile, or end another transaction.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, thread_name_prefix=name)
        try:
            self.submit(bool).result()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no thread can be started") from error

    def _adjust_thread_count(self) -> None:
        """Start a thread, unless one is idle or there are enough. The standard library calls this for each task."""
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
