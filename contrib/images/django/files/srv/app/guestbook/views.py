"""A guestbook: "ok" is said after the entry is committed; the same name twice is one entry."""

import re
import secrets

from django.db import DatabaseError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from .models import Entry


def plain(text, status=200):
    """Text that nobody keeps."""
    return HttpResponse(
        text, status=status, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"}
    )


def guarded(view):
    """Says so when the database does not answer."""

    def answer(request):
        try:
            return view(request)
        except DatabaseError as error:
            return plain(f"the guestbook cannot write or read now: {error}\n", 503)

    return answer


@require_safe
def alive(request):
    """Whether this process serves, whatever its database does."""
    return plain("ok\n")


@require_safe
@guarded
def page(request):
    """For people."""
    return render(request, "page.html", {"count": Entry.objects.count(), "entries": Entry.objects.order_by("-id")[:50]})


@require_POST
@guarded
def append(request):
    """`id` and `text`; a form without `id` is a person's."""
    name = request.POST.get("id") or secrets.token_hex(6)
    if not re.fullmatch(r"[!-~]{1,100}", name):
        return plain("the field id must be 1 to 100 printable characters without spaces\n", 400)
    Entry.objects.get_or_create(name=name, defaults={"text": request.POST.get("text", "")[:2000]})
    return plain(f"ok {name} {Entry.objects.count()}\n") if "id" in request.POST else redirect("/")


@require_safe
@guarded
def names(request):
    """Of all entries, oldest first."""
    return plain("".join(f"{name}\n" for name in Entry.objects.order_by("id").values_list("name", flat=True)))


@require_safe
@guarded
def health(request):
    """Whether the database answers, and how many there are."""
    return plain(f"ok {Entry.objects.count()}\n")
