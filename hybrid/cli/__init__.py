"""The command line: a client of the API with nothing but the standard library, so that it starts at once."""
