"""The S3 protocol: authentication, routing, the operations and their headers, XML. Knows nothing of keys or disks."""
