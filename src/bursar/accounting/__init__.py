"""Wallets, allocations and the journal: who has how much left of a product category."""
