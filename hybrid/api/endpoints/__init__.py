"""The endpoints, by subject. Each takes the parts of the node and a checked call, and returns an answer."""
