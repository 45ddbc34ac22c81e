import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bursar.config.settings")
application = get_asgi_application()

from django.urls import get_resolver  # noqa: E402

from bursar.config.installation import settle_memory  # noqa: E402

# Whatever the first request would load is loaded now, and left out of the collector's rounds.
get_resolver().url_patterns  # noqa: B018
settle_memory()
