"""The jobs of grants; each may run twice, and may be killed anywhere."""

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from bursar.grants.services import gifts
from bursar.kernel import clock
from bursar.structure.models import Person


@app.task(
    name="bursar.grants.tasks.give_gifts_at_login",
    queue="grants",
    retry=RetryStrategy(max_attempts=5, exponential_wait=3),
)
def give_gifts_at_login(person_id: int) -> None:
    """Give a person who has logged in what is given at login."""
    gifts.give_gifts_at_login(person=Person.objects.get(pk=person_id), at=clock.now())
