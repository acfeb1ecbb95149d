"""Moving objects over S3, in and out: ``strongroom import`` and ``strongroom export``. Clients of S3, like any other:
they know nothing of keys, stores or servers.
"""
