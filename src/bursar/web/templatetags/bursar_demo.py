"""The demonstration's cards on the login page."""

from collections.abc import Sequence

from django import template
from django.template.context import Context

from bursar.web.demo import CARDS, Card, is_at_home

register = template.Library()


@register.simple_tag(takes_context=True)
def demo_cards(context: Context) -> Sequence[Card]:
    """`{% demo_cards as cards %}`: the six people, or nobody where one click must not log anybody in."""
    request = context.get("request")
    return CARDS if request is not None and is_at_home(request) else ()
