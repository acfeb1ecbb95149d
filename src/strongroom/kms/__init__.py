"""Key management: whoever holds a master key wraps and unwraps data keys here. Knows nothing of objects or HTTP."""
