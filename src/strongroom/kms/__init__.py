"""Key management: data keys are wrapped and unwrapped by whatever holds the master key. Knows nothing of objects."""
