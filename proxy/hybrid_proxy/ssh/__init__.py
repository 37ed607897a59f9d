"""SSH: who logs in by a key gets a session in the container of a site, wherever that runs."""
