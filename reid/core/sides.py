"""How long the sides of a thumbnail in a store are, and of what a network takes in, pixels: the ends included."""

SHORTEST_SIDE = 8
LONGEST_SIDE = 2048
