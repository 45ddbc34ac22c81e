"""What the plugin behind an offering can do."""

from typing import Any

from bursar.catalogue import registry
from bursar.catalogue.models import Backend, Offering
from bursar.kernel.errors import DomainError


def can(offering: Offering, *protocols: Any) -> bool:
    """Whether the offering's plugin implements one of these protocols; a missing plugin can nothing."""
    return offering.backend is not None and backend_can(offering.backend, *protocols)


def backend_can(backend: Backend, *protocols: Any) -> bool:
    """Whether the backend's plugin implements one of these protocols."""
    try:
        plugin = registry.plugin_class(backend.plugin)
    except DomainError:
        return False
    return any(issubclass(plugin, protocol) for protocol in protocols)
