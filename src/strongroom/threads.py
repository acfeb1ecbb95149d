"""Threads for what waits or is long, which go on where the system lets this process have no more of them."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor


class Threads(ThreadPoolExecutor):
    """Up to ``most`` threads. The first one is there from the beginning; where no more can be had (a limit of the
    container or the service), what is asked for waits for those that there are.

    The standard library's queues a step first, and starts a thread for it then. Where that fails, its caller is told
    so, and yet a thread does the step later: it would write to a file that was given up meanwhile, or end another
    transaction. Raises OSError where not even one can be had.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, thread_name_prefix=name)
        try:
            self.submit(bool).result()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no thread can be started") from error

    def _adjust_thread_count(self) -> None:
        """Start a thread, unless one is idle or there are enough; the standard library calls this for each step."""
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
