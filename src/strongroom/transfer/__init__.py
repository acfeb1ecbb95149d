"""Moving objects in and out over S3: ``strongroom import`` and ``strongroom export``. Both are S3 clients like any
other, and know nothing of keys, stores or servers.
"""
