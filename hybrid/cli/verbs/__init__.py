"""The verbs, by noun. Each module adds its part of the grammar and holds what its verbs do."""
