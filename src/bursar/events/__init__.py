"""The append-only log of what happened: what, who, when, the facts."""
