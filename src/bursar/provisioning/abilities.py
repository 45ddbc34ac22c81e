"""What the plugin behind an offering can do."""

from typing import Any

from bursar.catalogue import registry
from bursar.catalogue.models import Offering
from bursar.kernel.errors import DomainError


def can(offering: Offering, *protocols: Any) -> bool:
    """Whether the offering's plugin implements one of these protocols; a missing plugin can nothing."""
    if offering.backend is None:
        return False
    try:
        plugin = registry.plugin_class(offering.backend.plugin)
    except DomainError:
        return False
    return any(issubclass(plugin, protocol) for protocol in protocols)
