"""The first page of everybody."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse

from bursar.web.http import page
from bursar.web.panels import panels_for


@login_not_required
def home(request: HttpRequest) -> HttpResponse:
    """What waits for me, what is locked, what runs out, my projects; to strangers, the way in."""
    if not request.user.is_authenticated:
        return HttpResponseRedirect(reverse("account_login"))
    return page(request, "bursar/home/home.html", {"panels": panels_for(request.viewer)})  # type: ignore[attr-defined]


urlpatterns = [path("", home, name="home")]
