"""What the plugin behind an offering can do."""

from typing import Any

from bursar.catalogue import registry
from bursar.catalogue.models import Offering
from bursar.plugins.contract import PROTOCOLS


def can(offering: Offering, *protocols: Any) -> bool:
    """Whether the offering's backend, as it is set up, implements one of these protocols; a missing plugin can nothing."""
    if offering.backend is None:
        return False
    able = registry.abilities_of(offering.backend)
    return any(PROTOCOLS[name] in protocols for name in able)
