"""Stores: opaque bytes and an opaque record under a bucket and a key. They know nothing of keys or HTTP."""
