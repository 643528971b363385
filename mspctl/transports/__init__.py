"""How drivers reach their targets: what several of them need, and nothing about what is said there."""
