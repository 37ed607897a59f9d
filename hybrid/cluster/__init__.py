"""Who is alive, who owns what, and how nodes talk about it."""
