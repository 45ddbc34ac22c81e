"""From facts to lines: what a resource costs in a month."""
