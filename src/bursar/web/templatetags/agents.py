"""The words of a backend's page about its agent."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from bursar.web.agent_status import Mended, Trouble

register = template.Library()


@register.simple_tag
def clock_words(ahead: timedelta) -> str:
    """`{% clock_words clock %}`: "12 s ahead"."""
    seconds = round(abs(ahead) / timedelta(seconds=1))
    return (_("{n} s ahead") if ahead > timedelta() else _("{n} s behind")).format(n=seconds)


@register.simple_tag
def agent_subject(one: Trouble | Mended, resources: Mapping[int, Any]) -> str:
    """`{% agent_subject trouble resources %}`: what it is about; a resource of the provider by its name, as a link."""
    found = resources.get(one.resource_id) if one.resource_id is not None else None
    if found is None:
        return one.subject or "–"
    return format_html('<a href="{}">{}</a>', reverse("resource", args=[found.pk]), found.name)
