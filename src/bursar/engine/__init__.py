"""Numbers only: arrays and arguments in, results out. No Django, no clock, no I/O."""
