"""The S3 protocol: who asks, for which operation, with which headers; XML in and out. Knows nothing of keys or
disks.
"""
