"""The plugin behind which a person at the provider does the work and says when it is done."""
