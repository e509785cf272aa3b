"""How much memory a model takes, and the cheapest machine that holds it."""
