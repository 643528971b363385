"""How drivers reach their targets, and checks the world: what several of them need. Nothing else of mspctl talks."""
