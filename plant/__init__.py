"""The simulated plant: a program of its own that the rest reaches over the wire alone."""
