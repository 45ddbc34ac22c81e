"""Usage reports in, exactly once."""
