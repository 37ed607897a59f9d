"""`hybrid doctor`: what is wrong with a machine and its cluster, why that matters, and the command that mends it."""
