"""One click logs a person of the demonstration in."""

from allauth.account.adapter import get_adapter
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from bursar.structure.models import Person
from bursar.web.demo import CARDS, is_at_home
from bursar.web.http import back


@require_POST
@login_not_required
def demo_login(request: HttpRequest, key: str) -> HttpResponse:
    card = next((card for card in CARDS if card.key == key), None)
    if card is None or not is_at_home(request):
        raise Http404
    person = Person.objects.filter(email=card.email, is_active=True).first()
    if person is None:
        raise Http404(_("The demo world is not loaded."))
    get_adapter(request).login(request, person)
    return back(request, "/")


urlpatterns = [path("demo/login/<slug:key>/", demo_login, name="demo_login")]
