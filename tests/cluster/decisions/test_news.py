"""What is still to be told, to whom, and how often."""

from hybrid.cluster.news import CopyOf, News, Self, Word
from hybrid.model import NodeId, SiteId

A, B, C = (NodeId(name) for name in "abc")
SITE = SiteId("s-one")


def test_what_everybody_should_hear_is_told_once() -> None:
    """It is told to the nodes chosen, not back to who said so, and again only when it changed again."""
    news = News()
    assert not news
    news.spread(Word(A, SITE), told_by=C)
    assert news
    assert news.round([B, C]) == {B: [Word(A, SITE)]}
    assert not news
    assert news.round([B, C]) == {}
    news.spread(Word(A, SITE))
    news.spread(Word(A, SITE))
    assert news.round([C]) == {C: [Word(A, SITE)]}


def test_what_is_owed_goes_to_whom_it_concerns() -> None:
    """It is told once, whoever the targets of the rumours are, and together with these."""
    news = News()
    news.owe([CopyOf(A, SITE), CopyOf(A, SITE)], [C])
    news.spread(Self(A), told_by=C)
    assert news.round([B, C]) == {C: [CopyOf(A, SITE)], B: [Self(A)]}
    assert not news


def test_names_of_different_kinds_do_not_mix() -> None:
    """A node's word about a site and its copy of it are two things to tell."""
    news = News()
    news.owe([Word(A, SITE), CopyOf(A, SITE), Word(A, SITE)], [B])
    assert news.round([]) == {B: [Word(A, SITE), CopyOf(A, SITE)]}
