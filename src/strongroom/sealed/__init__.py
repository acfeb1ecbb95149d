"""The heart: whether and how an object is encrypted; seals and opens it. Knows nothing of HTTP or of where bytes
lie.
"""
