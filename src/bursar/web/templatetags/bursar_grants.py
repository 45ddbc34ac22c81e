"""What pages of grants say in a tag: the mark of a giver."""

from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from bursar.grants.models import GiverLogo
from bursar.structure.models import Workspace
from bursar.web.templatetags.bursar import initials

register = template.Library()


@register.simple_tag
def giver_mark(giver: Workspace, logo: GiverLogo | Any = None, classes: str = "") -> SafeString:
    """`{% giver_mark giver giver.giver_settings.logo %}`: its logo, or initials where it has none.

    Its name stands beside it, so it says nothing to a screen reader. Logos are made for paper, so they stand on white in
    the dark too.
    """
    if not isinstance(logo, GiverLogo):
        return format_html('<span class="avatar giver-mark {}" aria-hidden="true">{}</span>', classes, initials(giver))
    # The mark of its bytes in the address: a new logo is seen at once, an old one is not asked for again.
    address = f"{reverse('grant_logo', args=[giver.pk])}?v={logo.sha256[:12]}"
    return format_html(
        '<span class="avatar giver-mark giver-logo {}"><img src="{}" alt="" width="{}" height="{}"></span>',
        classes,
        address,
        logo.width,
        logo.height,
    )
