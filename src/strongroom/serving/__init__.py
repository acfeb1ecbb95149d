"""The server process: sockets, TLS, workers and their supervisor, and the limits of HTTP itself.

Knows nothing of S3 except the form of its errors: it serves any application; the factory that it is given makes one in
each worker.
"""

from strongroom.serving.application import Application, CannotBegin
from strongroom.serving.listen import CannotListen
from strongroom.serving.supervisor import CannotStart, serve

__all__ = ["Application", "CannotBegin", "CannotListen", "CannotStart", "serve"]
