"""The server process: sockets, TLS, workers and their supervisor, and the limits of HTTP itself.

Knows nothing of S3 but the form of its errors: it serves any application, made in each worker by a factory that it is
given.
"""

from strongroom.serving.application import Application, CannotBegin
from strongroom.serving.listen import CannotListen
from strongroom.serving.supervisor import CannotStart, serve

__all__ = ["Application", "CannotBegin", "CannotListen", "CannotStart", "serve"]
