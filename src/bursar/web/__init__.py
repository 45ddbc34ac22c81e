"""The pages: one call in, one answer out. Everything that decides lives below."""
