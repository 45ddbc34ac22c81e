"""Words everybody shares: quantities, money, periods, the clock and refusals. No Django, no I/O."""
