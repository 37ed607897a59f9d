"""The deeds behind a site's life: create, open, close, move, roll back."""
