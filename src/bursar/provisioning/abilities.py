"""What the plugin behind an offering can do."""

from typing import Any

from bursar.catalogue import registry
from bursar.catalogue.models import Offering
from bursar.plugins.contract import PROTOCOLS


def can(offering: Offering, *protocols: Any) -> bool:
    """Whether the offering's plugin can serve one of these protocols; a missing plugin can nothing."""
    if offering.backend is None:
        return False
    able = set(registry.abilities_of(offering.backend))
    return any(name in able for name, protocol in PROTOCOLS.items() if protocol in protocols)
