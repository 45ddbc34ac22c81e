"""Minimal valid objects for the ledger: a provider, a category, workspaces."""

from datetime import UTC, datetime
from itertools import count

from bursar.catalogue.models import Charging, ProductCategory, ProductType, ServiceProvider
from bursar.structure.models import Organization, Person, Project, Workspace

_numbers = count(1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def make_organization(name: str = "University") -> Organization:
    return Organization.objects.create(name=name, slug=f"organization-{next(_numbers)}")


def make_provider(name: str = "Centre") -> ServiceProvider:
    return ServiceProvider.objects.create(organization=make_organization(name), authorized_at=LONG_AGO)


def make_category(**facts: object) -> ProductCategory:
    values: dict[str, object] = {
        "name": f"cpu-{next(_numbers)}",
        "title": "CPU on Thor",
        "product_type": ProductType.COMPUTE,
        "charging": Charging.PER_HOUR,
        "unit_name": "core-hours",
        "ticks_per_unit": 3600,
    }
    if "provider" not in facts:
        values["provider"] = make_provider()
    return ProductCategory.objects.create(**values | facts)


def make_organization_workspace(name: str = "University") -> Workspace:
    return Workspace.objects.create(kind=Workspace.Kind.ORGANIZATION, organization=make_organization(name))


def make_project_workspace(organization: Organization, name: str = "Project") -> Workspace:
    number = next(_numbers)
    project = Project.objects.create(
        organization=organization, name=name, slug=f"project-{number}", start=LONG_AGO, path=[]
    )
    Project.objects.filter(pk=project.pk).update(path=[project.pk])
    project.refresh_from_db()
    return Workspace.objects.create(kind=Workspace.Kind.PROJECT, project=project)


def make_person(name: str = "Ada") -> Person:
    number = next(_numbers)
    return Person.objects.create(email=f"person-{number}@example.org", full_name=name)
