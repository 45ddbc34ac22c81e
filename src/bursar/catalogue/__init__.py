"""Providers, backends, product categories, products, offerings and the shelf they stand on."""
