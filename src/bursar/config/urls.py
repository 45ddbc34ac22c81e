"""Where every address begins."""

from importlib import import_module
from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path

from bursar.web.views.people import oidc_login

urlpatterns: list[URLPattern | URLResolver] = []

if find_spec("bursar.config.health"):
    urlpatterns.append(path("healthz", import_module("bursar.config.health").healthz, name="healthz"))
if find_spec("bursar.api"):
    urlpatterns.append(path("api/v1/", import_module("bursar.api.api").api.urls))
urlpatterns += [
    # Before the library's own page of the same address: it sends people on in a way that our policy allows.
    path("account/oidc/<slug:provider_id>/login/", oidc_login, name="oidc_login"),
    path("account/", include("allauth.urls")),
    path("", include("bursar.web.urls")),
]

handler400 = "bursar.web.errors.bad_request"
handler403 = "bursar.web.errors.forbidden"
handler404 = "bursar.web.errors.not_found"
handler500 = "bursar.web.errors.server_error"
