"""Work of the catalogue that nobody waits for."""

from contextlib import suppress

from django.db import transaction
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued

from bursar.catalogue.models import Backend
from bursar.catalogue.services.backends import check_backend
from bursar.kernel.clock import now


@app.periodic(cron="*/5 * * * *")
@app.task(name="catalogue.check_backends", queueing_lock="catalogue.check_backends")
def check_backends(timestamp: int) -> None:
    """Ask for a look at each backend in use; one that is still being looked at is not asked for twice."""
    for pk in Backend.objects.filter(enabled=True).order_by("pk").values_list("pk", flat=True):
        with suppress(AlreadyEnqueued), transaction.atomic():
            check_one_backend.configure(queueing_lock=f"catalogue.check_backend/{pk}").defer(backend_id=pk)


@app.task(name="catalogue.check_backend")
def check_one_backend(backend_id: int) -> None:
    backend = Backend.objects.select_related("provider__organization").filter(pk=backend_id, enabled=True).first()
    if backend is not None:
        check_backend(backend=backend, by=None, at=now())
