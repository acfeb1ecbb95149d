"""What a server needs of the application that it serves."""

from __future__ import annotations

from typing import Protocol

from strongroom.observe.metrics import Metrics
from strongroom.serving.exchange import Answer


class CannotBegin(Exception):
    """The application cannot begin; the message is one line and says why."""


class Application(Protocol):
    """Answers requests, between its start and its stop."""

    @property
    def answer(self) -> Answer:
        """The function that answers requests."""
        ...

    @property
    def metrics(self) -> Metrics:
        """The counters that it keeps."""
        ...

    async def start(self) -> None:
        """Open what requests need, in the process and event loop that will serve them. Raises CannotBegin."""
        ...

    async def look(self) -> None:
        """Log it if what requests need cannot be reached. Called once, in one worker, while that serves already."""
        ...

    async def stop(self) -> None:
        """Finish what was acknowledged and release everything. Called when no request is running any more."""
        ...
