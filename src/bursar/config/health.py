"""`/healthz`: whether this installation can serve, for a load balancer or a monitor; open to everybody, so it says little."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bursar.config import installation
from bursar.kernel import clock


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 `ok`; 200 `degraded` when pages work but no worker does; 503 `down` when pages cannot work."""
    findings: dict[str, Any] = {"database": False, "migrations": None, "worker": None}
    try:
        findings["migrations"] = installation.is_current()
        findings["database"] = True
        if findings["migrations"]:
            seen = installation.worker_seen_at()
            findings["worker"] = seen is not None and clock.now() - seen <= installation.WORKER_SILENCE
            findings["worker_seen_at"] = seen.isoformat() if seen else None
    except DatabaseError:
        pass
    if not findings["database"] or not findings["migrations"]:
        return JsonResponse({"status": "down", **findings}, status=503)
    return JsonResponse({"status": "ok" if findings["worker"] else "degraded", **findings})
