"""How fast a model is on this machine, and what of it takes how long."""
