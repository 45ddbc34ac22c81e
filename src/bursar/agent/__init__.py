"""`bursar agent`: runs a provider's plugins at the provider's site and talks to Bursar; it only calls out."""
