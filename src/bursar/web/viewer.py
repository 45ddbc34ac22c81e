"""Who looks at a page, and what the role table lets them see, asked once per request."""

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from django.http import HttpRequest

from bursar.structure.models import Membership, Person
from bursar.structure.roles import ROLE_TABLE, Permission, Role, may

if TYPE_CHECKING:
    from bursar.structure.models import Organization, Project, Workspace

# What only makes sense where something is sold.
PROVIDER_PERMISSIONS: Final = frozenset(
    {
        Permission.VIEW_PROVIDER,
        Permission.EDIT_PROVIDER,
        Permission.MANAGE_CATEGORIES,
        Permission.MANAGE_BACKENDS,
        Permission.MANAGE_OFFERINGS,
        Permission.HANDLE_ORDERS,
        Permission.MANAGE_ACCOUNTS,
        Permission.ALLOCATE_ROOT,
        Permission.REPORT_USAGE,
        Permission.WRITE_OFF,
        Permission.VIEW_REVENUE,
        Permission.MANAGE_INVOICES,
    }
)


class Viewer:
    """The person behind a request; `roles` are held now, in whatever scope."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @property
    def at(self) -> datetime:
        at: datetime = self._request.at  # type: ignore[attr-defined]
        return at

    @property
    def person(self) -> Person | None:
        user = self._request.user
        return user if isinstance(user, Person) or user.is_authenticated else None

    @cached_property
    def memberships(self) -> list[Membership]:
        if self.person is None:
            return []
        held = Membership.objects.held_at(self._request.at)  # type: ignore[attr-defined]
        return list(held.filter(person_id=self.person.pk).select_related("organization__provider", "project"))

    @cached_property
    def roles(self) -> frozenset[Role]:
        return frozenset(Role(m.role) for m in self.memberships)

    @cached_property
    def permissions(self) -> frozenset[Permission]:
        """What the person may do somewhere: for deciding which pages to offer, never for allowing anything."""
        found: set[Permission] = set()
        for membership in self.memberships:
            permissions = ROLE_TABLE[Role(membership.role)]
            organization = membership.organization
            if organization is not None and not hasattr(organization, "provider"):
                permissions = permissions - PROVIDER_PERMISSIONS  # of an organization that does not sell
            found |= permissions
        return frozenset(found)

    def may(self, permission: Permission | str, scope: "Organization | Project | Workspace | None" = None) -> bool:
        return may(self.person, Permission(permission), scope, self._request.at) if self.person else False  # type: ignore[attr-defined]
