"""What holds for the whole application."""

from django.apps import AppConfig
from django.db.backends.signals import connection_created


def keep(connection, **unused):
    """SQLite deletes its journal to commit, and does not sync that: a power cut would undo it. Shortening is synced."""
    if connection.vendor == "sqlite":
        connection.cursor().execute("PRAGMA journal_mode = TRUNCATE")


class Guestbook(AppConfig):
    """The guestbook."""

    name = "guestbook"

    def ready(self):
        """Before the first connection."""
        connection_created.connect(keep)
