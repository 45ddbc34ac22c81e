"""What spending holds up: orders that wait for whoever answers for the budget, resources that are paused, nobody who pays."""

from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bursar.catalogue import services as catalogue
from bursar.catalogue.models import Component, PlanComponent
from bursar.events.models import Event
from bursar.kernel.clock import stated_time
from bursar.plugins.contract import Done
from bursar.provisioning import holds, selectors, services, tasks
from bursar.provisioning.errors import (
    NobodyPays,
    OrderStepNotOpen,
    PausedByBudget,
    QuotaUsedUp,
    ReasonNeeded,
)
from bursar.provisioning.models import (
    Order,
    OrderDecision,
    OrderHold,
    Resource,
    Side,
    SpendingHold,
    SpendingPause,
)
from bursar.structure.models import Organization, Project
from bursar.structure.roles import NotAllowed, Role
from tests.factories.provisioning import World, approve_all, make_resource, make_world, place_order, run_jobs
from tests.factories.puppet import Puppet, use_puppet
from tests.factories.structure import make_membership, make_person, make_project, make_workspace

pytestmark = pytest.mark.django_db

Effect = SpendingHold.Effect


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    def make() -> World:
        world = make_world(at=at, quota_hours=None, quota_gb=1000, components=None)
        return world

    return standing(make, at=at)


@pytest.fixture
def world(made: World, at: datetime) -> Any:
    with stated_time(at):
        yield deepcopy(made)


@pytest.fixture
def puppet(monkeypatch: pytest.MonkeyPatch, world: World) -> Puppet:
    return use_puppet(monkeypatch)
