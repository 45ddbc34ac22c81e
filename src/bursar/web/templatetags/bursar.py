"""The words of our templates: numbers with their units, times, states, icons, bars, charts, tables."""

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.template.context import Context
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import formats, timezone
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from bursar.catalogue.words import unit_beside
from bursar.kernel.clock import now
from bursar.kernel.money import Money
from bursar.kernel.quantity import THIN, Unit, grouped
from bursar.web.markdown import to_html
from bursar.web.states import look_of

register = template.Library()


def unit_of(thing: Any) -> Unit:
    """The unit of a category, or the unit itself."""
    return thing if isinstance(thing, Unit) else thing.unit


@register.simple_tag
def quantity(ticks: int | None, category: Any, digits: int | None = None) -> str:
    """`{% quantity ticks category %}`: the exact amount with its unit; `digits=1` rounds what is shown, the title stays
    exact."""
    if ticks is None:
        return mark_safe('<span class="text-secondary">–</span>')
    unit = unit_of(category)
    exact = grouped(unit.text(ticks))
    shown = exact if digits is None else grouped(unit.text(ticks, digits))
    if shown == exact:
        name = unit_beside(shown, unit.name)
        return format_html('<span class="num">{}&nbsp;<span class="unit">{}</span></span>', shown, name)
    return format_html(
        '<span class="num" title="{} {}">{}&nbsp;<span class="unit">{}</span></span>',
        exact,
        unit.name,
        shown,
        unit_beside(shown, unit.name),
    )


@register.simple_tag
def amount(ticks: int | None, category: Any, digits: int = 2) -> str:
    """`{% amount ticks category %}`: the number alone, for columns whose heading says the unit; exact in the title."""
    if ticks is None:
        return mark_safe('<span class="text-secondary">–</span>')
    unit = unit_of(category)
    return format_html(
        '<span class="num" title="{} {}">{}</span>',
        grouped(unit.text(ticks)),
        unit.name,
        grouped(unit.text(ticks, digits)),
    )


@register.filter
def number(value: Any) -> str:
    """`{{ count|number }}`: a plain number with thin spaces."""
    if value is None or value == "":
        return "–"
    return grouped(format(value, "f") if isinstance(value, Decimal) else str(value))


@register.simple_tag
def money(amount: Money | Decimal | int | None, currency: str = "") -> str:
    """`{% money amount %}` with a Money, or `{% money decimal "EUR" %}`."""
    if amount is None:
        return mark_safe('<span class="text-secondary">–</span>')
    value = amount if isinstance(amount, Money) else Money.rounded(amount, currency)
    return format_html(
        '<span class="num">{}&nbsp;<span class="unit">{}</span></span>', grouped(str(value.amount)), value.currency
    )


@register.simple_tag(takes_context=True)
def when(context: Context, moment: datetime | date | None, style: str = "time") -> str:
    """`{% when moment %}`: the viewer's own time with the exact UTC instant as its title.

    style   "time" (day and time), "date" (the day), "last" (the last day that a period touches which ends then),
            "relative" ("in 3 days", "2 hours ago")
    """
    if moment is None:
        return mark_safe('<span class="text-secondary">–</span>')
    if not isinstance(moment, datetime):
        return format_html('<time datetime="{}">{}</time>', moment.isoformat(), formats.date_format(moment))
    utc = moment.astimezone(UTC)
    local = timezone.localtime(moment)
    if style == "relative":
        request = context.get("request")
        at = getattr(request, "at", None) or now()
        if abs((moment - at).total_seconds()) < 60:
            shown = _("just now")
        elif moment > at:
            shown = _("in {time}").format(time=timeuntil(moment, at, depth=1))
        else:
            shown = _("{time} ago").format(time=timesince(moment, at, depth=1))
    else:
        day = local - timedelta(microseconds=1) if style == "last" else local
        shown = formats.date_format(day, "DATETIME_FORMAT" if style == "time" else "DATE_FORMAT")
    title = f"{local:%Y-%m-%d %H:%M %Z} · {utc:%Y-%m-%d %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', utc.isoformat().replace("+00:00", "Z"), title, shown)


@register.simple_tag
def icon(name: str, label: str = "", classes: str = "") -> str:
    """`{% icon "server" %}`: a Tabler icon; with a label when it stands alone, else hidden from screen readers."""
    spoken = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="icon {}" {} focusable="false"><use href="{}#{}"></use></svg>',
        classes,
        spoken,
        static("dist/icons.svg"),
        name,
    )


@register.simple_tag
def state(value: Any, label: str = "") -> str:
    """`{% state order.state %}`: the badge of a state, one colour and one wording everywhere (bursar.web.states)."""
    look = look_of(str(value))
    return format_html(
        '<span class="badge bg-{}-lt text-nowrap" data-state="{}">{}{}</span>',
        look.colour,
        value,
        icon(look.icon, classes="icon-inline me-1") if look.icon else "",
        label or look.words,
    )


@register.simple_tag
def bar(used: int | None, quota: int | None, label: str = "") -> str:
    """`{% bar used quota %}`: how much of a quota is used, as a <progress>; over 100% it is full and red."""
    if not quota or used is None:
        share, shown = 0, "0"
        if used and not quota:
            share, shown = 100, "100+"
    else:
        percent = used * 1000 // quota
        share, shown = min(100, max(0, percent // 10)), f"{percent // 10}"
    colour = "red" if share >= 100 else "orange" if share >= 90 else "yellow" if share >= 75 else "primary"
    text = _("{percent}% used").format(percent=shown)
    return format_html(
        '<progress class="progress progress-{}" max="100" value="{}" aria-label="{}" title="{}"></progress>',
        colour,
        share,
        label or text,
        text,
    )


@register.filter
def percent(used: int | None, quota: int | None) -> str:
    """`{{ used|percent:quota }}`: whole percents, rounded down, so that 100% means all of it."""
    return f"{used * 100 // quota}{THIN}%" if quota and used is not None else "–"


@register.filter
def share(part: int, whole: int) -> str:
    """`{{ row.ticks|share:total }}`: percents to one decimal, rounded, so that what is beside each other adds up."""
    if not whole:
        return "–"
    percents = (Decimal(part) * 100 / Decimal(whole)).quantize(Decimal("0.1"), rounding="ROUND_HALF_UP")
    return f"{grouped(f'{percents:f}')}{THIN}%"


_numbers = itertools.count(1)


@register.inclusion_tag("bursar/parts/chart.html", takes_context=True)
def chart(context: Context, data: Mapping[str, Any], label: str, size: str = "") -> dict[str, Any]:
    """`{% chart data _("Usage by day") %}`: a drawing with the same numbers as a table below it.

    data   {"kind": line|area|bar|stack|pie, "unit": str, "x": [label or ISO time], "time": bool,
            "series": [{"name", "values"}], "marks": [{"x" or "y", "label"}]}; numbers in the unit, not in ticks
    size   "small" for a low one
    """
    name = f"chart-{next(_numbers)}"
    rows = [
        (x, [series["values"][i] if i < len(series["values"]) else None for series in data["series"]])
        for i, x in enumerate(data.get("x", ()))
    ]
    return {
        "name": name,
        "script": json_script(dict(data), f"{name}-data"),
        "label": label,
        "small": size == "small",
        "data": data,
        "rows": rows,
        "empty": not any(value for _x, values in rows for value in values) and data.get("kind") != "pie",
        "CSP_NONCE": context.get("CSP_NONCE", ""),
    }


@register.simple_tag
def markdown(text: str) -> str:
    """`{% markdown offering.description %}`: Markdown by others, cleaned of everything that could act."""
    return to_html(text)


@register.simple_tag
def crumb(label: str, name: str = "", *args: Any) -> str:
    """`{% crumb _("Projects") "projects" %}`: one step of the path; without an address it is where we are."""
    if not name:
        return format_html('<li class="breadcrumb-item active" aria-current="page">{}</li>', label)
    address = name if name.startswith("/") else reverse(name, args=args)
    return format_html('<li class="breadcrumb-item"><a href="{}">{}</a></li>', address, label)


@register.simple_tag
def address(name: str, *args: Any) -> str:
    """`{% address "order" order.pk as url %}`: like `url`, but empty where no such page exists."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


@register.inclusion_tag("bursar/parts/empty.html")
def empty_state(title: str, text: str = "", symbol: str = "inbox", url: str = "", action: str = "") -> dict[str, str]:
    """`{% empty_state _("No projects yet") _("…") "folder" url _("Create one") %}`: an empty list says what to do next."""
    return {"title": title, "text": text, "symbol": symbol, "url": url, "action": action}


@register.inclusion_tag("bursar/parts/confirm_button.html", takes_context=True)
def act(context: Context, label: str, url: str, **options: Any) -> dict[str, Any]:
    """`{% act _("Revoke") url confirm=_("Revoke it?") symbol="trash" classes="btn-danger" %}`: a button that posts.

    options   confirm (question before it is sent), symbol, classes ("btn-sm"...), name and value (one posted field)
    """
    return {"label": label, "url": url, "csrf_token": context.get("csrf_token"), **options}


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: Any) -> str:
    """`?` and the present query string with some parameters changed; an empty value removes one."""
    parameters = context["request"].GET.copy()
    for key, value in changes.items():
        if value in {None, ""}:
            parameters.pop(key, None)
        else:
            parameters[key] = str(value)
    return "?" + parameters.urlencode()


@register.filter
def role_title(value: str) -> str:
    """`{{ membership.role|role_title }}`: what people call a role."""
    from bursar.structure.roles import ROLE_TITLES, Role

    return str(ROLE_TITLES[Role(value)])


@register.filter
def initials(person: Any) -> str:
    """`{{ person|initials }}`: two letters for an avatar."""
    parts = str(person).replace("@", " ").split()
    return "".join(part[0] for part in (parts[:1] + parts[-1:] if len(parts) > 1 else parts)).upper()


@register.filter
def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


class TableNode(template.Node):
    def __init__(self, listing: FilterExpression, rows: NodeList, empty: NodeList) -> None:
        self.listing = listing
        self.rows = rows
        self.empty = empty

    def render(self, context: Context) -> SafeString:
        listing = self.listing.resolve(context)
        with context.push(listing=listing):
            body = (self.rows if listing.rows else self.empty).render(context)
            whole = context.template.engine.get_template("bursar/parts/table.html")  # type: ignore[union-attr]
            with context.push(body=body):
                return whole.render(context)


@register.tag
def table(parser: Parser, token: Token) -> TableNode:
    """`{% table listing %}rows{% empty %}what to do{% endtable %}`: search, filters, sortable heads, rows, pages.

    `listing` is a bursar.web.listing.Listing; inside, loop over `listing.rows` and write <tr>s whose <td>s carry
    `data-label` (their heading on a phone).
    """
    words = token.split_contents()
    if len(words) != 2:
        raise template.TemplateSyntaxError("table takes a listing")
    listing = parser.compile_filter(words[1])
    rows = parser.parse(("empty", "endtable"))
    empty = NodeList()
    if parser.next_token().contents == "empty":
        empty = parser.parse(("endtable",))
        parser.delete_first_token()
    return TableNode(listing, rows, empty)


@register.filter
def items_of(value: Mapping[Any, Any]) -> Sequence[tuple[Any, Any]]:
    return list(value.items())


def of_many(count: int) -> str:
    return pgettext("number of rows", "{count} in all").format(count=grouped(str(count)))
