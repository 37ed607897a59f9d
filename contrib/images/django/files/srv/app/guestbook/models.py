"""What is in the database."""

from django.db import models


class Entry(models.Model):
    """One, under the name its writer gave it."""

    name = models.CharField(max_length=100, unique=True)
    text = models.TextField()
    at = models.DateTimeField(auto_now_add=True)
