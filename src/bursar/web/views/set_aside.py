"""Records of usage that could not be posted: the list of a backend, sending them again, giving them up."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from bursar.catalogue import selectors as catalogue
from bursar.catalogue.models import Backend
from bursar.provisioning import selectors
from bursar.provisioning.errors import RecordNotSetAside
from bursar.provisioning.services import set_aside
from bursar.structure.roles import Permission, require
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.views.provider import seen_by, who_and_when

CHOICES_MAX = 50  # of a filter
PER_PAGE = 50


def _backend(request: HttpRequest, pk: int) -> Backend:
    viewer, at = seen_by(request)
    return catalogue.backend_of_provider(viewer, pk, at)


def backend_set_aside(request: HttpRequest, pk: int) -> HttpResponse:
    found = _backend(request, pk)
    records = selectors.records_set_aside(found)
    listing = Listing(
        request,
        records,
        label=gettext_lazy("Records set aside"),
        sort="since",
        per_page=PER_PAGE,
        search=("record_id__icontains", "component__icontains", "why__icontains"),
        columns={
            "chosen": Column(gettext_lazy("Choose"), hidden=True),
            "record": Column(gettext_lazy("Record"), sort="record_id"),
            "resource": Column(gettext_lazy("Resource"), sort="resource_id"),
            "why": Column(gettext_lazy("What is wrong"), sort="why"),
            "since": Column(gettext_lazy("Since"), sort="first_at"),
            "last": Column(gettext_lazy("Last tried"), sort="last_at"),
            "tries": Column(gettext_lazy("Tries"), sort="tries", classes="num"),
        },
        filters=(
            _of_these(records, "component", gettext_lazy("Any component")),
            _of_these(records, "code", gettext_lazy("Any reason")),
        ),
    )
    named = selectors.resources_named(found.provider, {row.resource_id for row in listing.rows})
    for row in listing.rows:
        row.resource = named.get(row.resource_id)
    organization = found.provider.organization
    context = {
        "backend": found,
        "listing": listing,
        "may_send": request.viewer.may(Permission.REPORT_USAGE, organization),  # type: ignore[attr-defined]
        "may_give_up": request.viewer.may(Permission.WRITE_OFF, organization),  # type: ignore[attr-defined]
    }
    return page(request, "bursar/provider/set_aside.html", context)


def _of_these(records: Any, field: str, label: Any) -> Filter:
    """A filter by the values that there are."""
    there = list(records.order_by(field).values_list(field, flat=True).distinct()[:CHOICES_MAX])
    return Filter(field, label, [(value, value.replace("_", " ")) for value in there], field)


def _chosen(request: HttpRequest) -> list[int]:
    """raises   RecordNotSetAside"""
    given = request.POST.getlist("record")
    if not all(text.isdecimal() and len(text) <= 18 for text in given):
        raise RecordNotSetAside
    return sorted({int(text) for text in given})


def _to_list(pk: int) -> str:
    return reverse("backend_set_aside", args=[pk])


@require_POST
@refusals_as_messages(to=_to_list)
def backend_send_again(request: HttpRequest, pk: int) -> HttpResponse:
    """Those that were chosen; all of them where the button says so."""
    found, who = _backend(request, pk), who_and_when(request)
    require(who["by"], Permission.REPORT_USAGE, found.provider.organization, who["at"])
    ids = None if "all" in request.POST else _chosen(request)
    if ids == []:
        return _nothing_chosen(request, pk)
    posted, still = set_aside.send_again(backend=found, ids=ids, **who)
    if posted:
        said = ngettext("{n} record stands now.", "{n} records stand now.", posted)
        messages.success(request, said.format(n=posted))
    if still:
        said = ngettext("{n} record still cannot be posted.", "{n} records still cannot be posted.", still)
        messages.warning(request, said.format(n=still))
    return redirect("backend_set_aside", pk)


@require_POST
@refusals_as_messages(to=_to_list)
def backend_give_up(request: HttpRequest, pk: int) -> HttpResponse:
    found, who = _backend(request, pk), who_and_when(request)
    require(who["by"], Permission.WRITE_OFF, found.provider.organization, who["at"])
    ids = _chosen(request)
    if not ids:
        return _nothing_chosen(request, pk)
    given_up = set_aside.give_up(backend=found, ids=ids, reason=request.POST.get("reason", ""), **who)
    said = ngettext("{n} record was given up.", "{n} records were given up.", given_up)
    messages.success(request, said.format(n=given_up))
    return redirect("backend_set_aside", pk)


def _nothing_chosen(request: HttpRequest, pk: int) -> HttpResponse:
    messages.warning(request, _("Choose the records first."))
    return redirect("backend_set_aside", pk)


urlpatterns = [
    path("provider/backends/<int:pk>/set-aside/", backend_set_aside, name="backend_set_aside"),
    path("provider/backends/<int:pk>/set-aside/send-again", backend_send_again, name="backend_send_again"),
    path("provider/backends/<int:pk>/set-aside/give-up", backend_give_up, name="backend_give_up"),
]
