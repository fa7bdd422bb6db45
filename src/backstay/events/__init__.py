"""Events: the change log, read in the order of commits."""
