import os
from typing import Any, cast

from django.core.wsgi import get_wsgi_application

from bursar.config.threads import InThreads
from bursar.config.waiting import Waiting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bursar.config.settings")
# All pages and operations are plain functions. Each request runs whole in one of these threads; Django's own ASGI handler
# would change threads around each middleware, which costs more than most requests. Only who waits for news waits outside.
THREADS = 10
application = Waiting(InThreads(cast(Any, get_wsgi_application()), threads=THREADS))

from django.urls import get_resolver  # noqa: E402

from bursar.config.installation import settle_memory  # noqa: E402

# Whatever the first request would load is loaded now, and left out of the collector's rounds.
get_resolver().url_patterns  # noqa: B018
settle_memory()
