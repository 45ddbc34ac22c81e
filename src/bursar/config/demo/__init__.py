"""A small nation for trials and training: three universities, two providers, a year of history that ends today."""
