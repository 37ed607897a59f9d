"""Which page is which view."""

from django.urls import path
from guestbook import views

urlpatterns = [
    path("", views.page),
    path("alive", views.alive),
    path("append", views.append),
    path("list", views.names),
    path("health", views.health),
]
