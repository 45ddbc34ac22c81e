"""What the plugin behind an offering can do."""

from typing import Any

from bursar.catalogue import registry
from bursar.catalogue.models import Backend, Offering
from bursar.plugins.contract import PROTOCOLS


def can(offering: Offering, *protocols: Any) -> bool:
    """Whether the offering's plugin can serve one of these protocols; a missing plugin can nothing."""
    return offering.backend is not None and backend_can(offering.backend, *protocols)


def backend_can(backend: Backend, *protocols: Any) -> bool:
    """Whether the backend's plugin can serve one of these protocols."""
    able = set(registry.abilities_of(backend))
    return any(name in able for name, protocol in PROTOCOLS.items() if protocol in protocols)
