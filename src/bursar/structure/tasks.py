"""What happens by the clock."""

from procrastinate.contrib.django import app

from bursar.kernel import clock
from bursar.structure.services.memberships import note_expired_memberships


@app.periodic(cron="* * * * * */20")
@app.task(name="bursar.structure.tasks.note_expired", queue="default", queueing_lock="structure.note_expired")
def note_expired(timestamp: int) -> int:
    """Write down the memberships that ran out; may run twice, each membership is noted once."""
    return note_expired_memberships(at=clock.now())
