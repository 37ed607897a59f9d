"""Pages for people, made on the server from answers of the API. All they do works without script."""
