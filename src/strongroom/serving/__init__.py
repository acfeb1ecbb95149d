"""The server process: sockets, TLS, workers and their supervisor, and the limits of HTTP itself.

Knows nothing of S3: it serves any ASGI application, made in each worker by a factory that it is given.
"""

from strongroom.serving.listen import CannotListen
from strongroom.serving.supervisor import CannotStart, serve

__all__ = ["CannotListen", "CannotStart", "serve"]
