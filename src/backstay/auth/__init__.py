"""Who asks: from credentials to a Principal."""
