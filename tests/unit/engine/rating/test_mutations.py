"""The slow reader catches mistakes: each of these, planted in the engine, makes some random life come out differently."""

import importlib.util
import sys
from collections.abc import Iterator
from fractions import Fraction
from types import ModuleType

import pytest

from tests.unit.engine.rating.lives import Case, case
from tests.unit.engine.rating.naive import Naive

PACKAGE = "bursar.engine.rating"
LIVES = 2_000

# (module, what it says, the mistake)
MISTAKES = [
    ("steps", "bisect_right(self.ats, instant)", "bisect_left(self.ats, instant)"),
    ("steps", "place = bisect_left(self.ats, instant)", "place = bisect_right(self.ats, instant)"),
    ("steps", "return row[0], row[1]", "return row[0], -row[1]"),
    ("life", 'starts = state in AGAIN if spans else state == "ok"', 'starts = state == "ok"'),
    ("life", 'starts = state in AGAIN if spans else state == "ok"', "starts = state in AGAIN"),
    ("life", 'frozenset({"terminating", "terminated"})', 'frozenset({"terminated"})'),
    ("life", "stopped = stopped or at", "stopped = at"),
    ("life", 'began is not None and state == "changing")', "False)"),
    ("life", "cuts.add(day + 1)", "cuts.add(day)"),
    ("life", "if a < end and b > begin)", "if a < end and b >= begin)"),
    ("life", "any(a <= begin and b >= end", "any(a <= begin and b > begin"),
    ("life", "self.plans.before(pieces[-1][1])", "self.plans.at(pieces[-1][1])"),
    ("life", "self.plans.before(pieces[-1][1])", "self.plans.before(end)"),
    ("calendar", "FIRST_HALF: Final = 15", "FIRST_HALF: Final = 16"),
    ("calendar", "month.plus(-((month.month - 1) % length))", "month.plus(-(month.month % length))"),
    ("rate", "month != months[-1]", "month == months[-1]"),
    ("rate", "exact += its.exact", "exact -= its.exact"),
    ("rate", "rounded=minor_units(exact, digits) - self.less", "rounded=minor_units(exact, digits) + self.less"),
    ("rate", "highest = max(highest, limits.at(start) or 0,", "highest = min(limits.at(start) or 0,"),
    ("rate", "(limits.values[i] for i in limits.between(start, end))", "[]"),
    ("rate", "b - HOUR + INSTANT", "b - HOUR"),
    ("rate", "birth + begun * HOUR", "birth"),
    ("rate", "begun = -((birth - b) // HOUR)", "begun = (b - birth) // HOUR"),
    ("rate", "first == begin and comes_back", "False"),
    ("rate", "(hours - free)", "hours"),
    ("rate", "if plan is None or plan in seen", "if plan is None"),
    ("rate", "at > self.life.spans[0][0]", "at >= self.life.spans[0][0]"),
    ("rate", "plan == plans.before(at)", "False"),
    ("rate", "line.quantity += level - before", "line.quantity += before - level"),
    ("rate", "if start <= at < end:\n                plan", "if start <= at:\n                plan"),
    ("rate", "if part.free_while_paused and run.paused", "if run.paused"),
    ("rate", "return not free and bool(self.quantity or self.money)", "return bool(self.quantity or self.money)"),
    ("tiers", "if quantity >= start", "if quantity > start"),
    ("tiers", "max(low, start)", "low"),
    ("tiers", "sign * (to - from_)", "(to - from_)"),
    ("tiers", "before, reached = reached, reached + quantity\n", "before, reached = reached, quantity\n"),
    ("tiers", "step_of(version, whole)", "step_of(version, found.quantity)"),
]
MODULES = ["exact", "steps", "calendar", "facts", "life", "tiers", "rate"]


def _with(mistake: tuple[str, str, str]) -> ModuleType:
    """`rate` over modules made anew, one of them with the mistake in it."""
    place, right, wrong = mistake
    for name in MODULES:
        spec = importlib.util.find_spec(f"{PACKAGE}.{name}")
        assert spec is not None
        assert spec.origin is not None
        with open(spec.origin) as file:  # noqa: PTH123
            source = file.read()
        if name == place:
            assert right in source, f"{place} no longer says: {right}"
            source = source.replace(right, wrong)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        exec(compile(source, f"<{name} with a mistake>", "exec"), module.__dict__)
    return sys.modules[f"{PACKAGE}.rate"]


@pytest.fixture
def modules_as_before() -> Iterator[None]:
    before = {name: module for name, module in sys.modules.items() if name.startswith(PACKAGE)}
    yield
    sys.modules.update(before)


@pytest.fixture(scope="module")
def bills() -> list[tuple[Case, dict[tuple[int, int, int], tuple[Fraction, int]]]]:
    """Random lives, each as the slow reader has it."""
    cases = [case(seed) for seed in range(LIVES)]
    return [(c, Naive(c.history, c.tariff, c.zone, c.digits).bill(*c.month)) for c in cases]


@pytest.mark.soak
@pytest.mark.usefixtures("modules_as_before")
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m[0]}: {m[2][:40]}")
def test_charges__with_a_mistake__some_life_comes_out_differently(
    mistake: tuple[str, str, str], bills: list[tuple[Case, dict[tuple[int, int, int], tuple[Fraction, int]]]]
) -> None:
    rate = _with(mistake)
    tariff_of, month_of = sys.modules[f"{PACKAGE}.facts"].Tariff, sys.modules[f"{PACKAGE}.calendar"].Month
    for (history, its, zone, digits, month), bill in bills:
        try:
            found = rate.charges(history, tariff_of(its.parts, its.units, its.prices), month_of(*month), zone, digits)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return
        if {(c.component, c.plan, c.price_version): (c.quantity, c.rounded) for c in found} != bill:
            return
    pytest.fail(f"{LIVES} lives come out the same")
