"""Where every address begins."""

from importlib import import_module
from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = []

if find_spec("bursar.config.health"):
    urlpatterns.append(path("healthz", import_module("bursar.config.health").healthz, name="healthz"))
if find_spec("bursar.api"):
    urlpatterns.append(path("api/v1/", import_module("bursar.api.api").api.urls))
urlpatterns += [
    path("account/", include("allauth.urls")),
    path("", include("bursar.web.urls")),
]

handler400 = "bursar.web.errors.bad_request"
handler403 = "bursar.web.errors.forbidden"
handler404 = "bursar.web.errors.not_found"
handler500 = "bursar.web.errors.server_error"
