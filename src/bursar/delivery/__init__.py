"""What leaves: mail today, the feed to providers and notices next to it."""
