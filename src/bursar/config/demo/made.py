"""What stands of the demo nation while it is being made, by the keys of `world`, and what is still to happen in it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from bursar.catalogue.models import Backend, Offering, OfferingCategory, ProductCategory, ServiceProvider
from bursar.metering.services import Report
from bursar.structure.models import Organization, Person, Project, Workspace


@dataclass
class World:
    """What was made, by the keys of `world`."""

    today: datetime
    people: dict[str, Person] = field(default_factory=dict)
    organizations: dict[str, Organization] = field(default_factory=dict)
    providers: dict[str, ServiceProvider] = field(default_factory=dict)
    categories: dict[str, ProductCategory] = field(default_factory=dict)
    shelves: dict[str, OfferingCategory] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    offerings: dict[str, Offering] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)
    # What is still to be posted, in order of time, one queue per metered resource.
    pending: list[deque[Report]] = field(default_factory=list)
    timeline: list[tuple[datetime, int, Callable[[], None]]] = field(default_factory=list)

    def then(self, at: datetime, happening: Callable[[], None]) -> None:
        """Have it happen at its time: the ledger, like the world, knows no way back."""
        self.timeline.append((at, len(self.timeline), happening))

    def ago(self, days: float) -> datetime:
        return self.today - timedelta(days=days)

    def workspace(self, key: str) -> Workspace:
        if key in self.projects:
            return Workspace.objects.select_related("project__organization").get(project=self.projects[key])
        return Workspace.objects.select_related("organization").get(organization=self.organizations[key])

    def ticks(self, category: str, amount: int | Decimal) -> int:
        return self.categories[category].unit.ticks(amount)
