"""A whole cluster on one machine, in namespaces: the demo and the story."""
