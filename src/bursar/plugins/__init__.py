"""What Bursar provisions: one small protocol per ability, and the plugins that have them."""
