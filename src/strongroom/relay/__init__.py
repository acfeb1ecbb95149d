"""Pass-through: a gateway without a KMS authenticates requests and hands them to the backend, signed anew."""

from strongroom.relay.relay import BackendRelay

__all__ = ["BackendRelay"]
