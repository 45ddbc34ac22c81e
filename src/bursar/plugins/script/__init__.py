"""The plugin whose backend is a provider's own commands: one per verb, a JSON document in, a JSON document out."""
