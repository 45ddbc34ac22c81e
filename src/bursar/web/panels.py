"""What the home page shows: panels that the modules of each noun add, in the order of what matters first."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from django.utils.functional import Promise

from bursar.web.viewer import Viewer

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Panel:
    """A card of the home page.

    template   is given `panel`, whose `data` is what `load` returned
    wide       takes the full width, else half of it
    """

    title: Text
    template: str
    icon: str
    data: Any
    url: str = ""
    wide: bool = False
    count: int = 0


Load = Callable[[Viewer], Panel | None]


@dataclass(frozen=True, slots=True, order=True)
class _Registered:
    order: int
    name: str
    load: Load = field(compare=False)


_REGISTERED: Final[dict[str, _Registered]] = {}


def register(name: str, *, order: int) -> Callable[[Load], Load]:
    """`@register("waiting", order=10)` above a function (viewer) -> Panel, or None where there is nothing to show.

    order   10 what waits for me, 20 what is locked, 30 what runs out, 40 my projects, 50 my resources, 90 the rest
    """

    def add(load: Load) -> Load:
        _REGISTERED[name] = _Registered(order, name, load)
        return load

    return add


def panels_for(viewer: Viewer) -> list[Panel]:
    """The panels that have something to show to this viewer."""
    found = (each.load(viewer) for each in sorted(_REGISTERED.values()))
    return [panel for panel in found if panel is not None]
