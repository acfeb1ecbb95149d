"""The handlers: one module a resource, one coroutine an operation, named as in the S3 API in snake case."""
