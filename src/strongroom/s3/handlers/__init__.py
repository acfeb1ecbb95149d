"""The handlers: a module for each resource, a coroutine for each operation, with its S3 API name in snake case."""
