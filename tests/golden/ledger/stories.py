"""Stories of allocations as text: one step a line, and tables of what must stand then. The format is told in README.md."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DAY: Final = 24 * 3600
FOLDER: Final = Path(__file__).with_name("stories")

_CHARGED = re.compile(r"level|over time, grace (\d+)")
_STEP = re.compile(r"day (?P<day>-?\d+) +(?P<deed>.+?)(?: *: refused (?P<code>[a-z_]+))?")
_ON = r"(?: on day (?P<on>-?\d+))?"
_DEEDS: Final = [
    (
        re.compile(
            r"(?P<source>[\w-]+) gives (?P<wallet>[\w-]+) (?P<quota>\d+) as (?P<id>[\w-]+), "
            r"days (?P<start>-?\d+)-(?P<end>\d+)(?:, priority (?P<priority>\d+))?"
        ),
        "allocate",
    ),
    (re.compile(r"(?P<wallet>[\w-]+) uses (?P<amount>\d+)" + _ON), "uses"),
    (re.compile(r"(?P<wallet>[\w-]+) gives back (?P<amount>\d+)" + _ON), "gives back"),
    (re.compile(r"(?P<wallet>[\w-]+) stands at (?P<amount>\d+)" + _ON), "level"),
    (re.compile(r"(?P<id>[\w-]+) becomes (?P<quota>\d+)"), "change"),
    (re.compile(r"(?P<id>[\w-]+) starts on day (?P<start>-?\d+)"), "change"),
    (re.compile(r"(?P<id>[\w-]+) ends on day (?P<end>-?\d+)"), "change"),
    (re.compile(r"(?P<id>[\w-]+) is revoked"), "revoke"),
    (re.compile(r"(?P<amount>\d+) moves from (?P<id>[\w-]+) to (?P<to>[\w-]+)"), "transfer"),
    (re.compile(r"(?P<amount>\d+) is written off at (?P<wallet>[\w-]+)"), "write_off"),
    (re.compile(r"time passes"), "advance"),
]
_TEXT: Final = frozenset({"source", "wallet", "id", "to"})
_DAYS: Final = frozenset({"start", "end", "on"})
_WALLETS: Final = ["wallet", "used", "uncovered", "available"]
_ALLOCATIONS: Final = ["allocation", "drawn", "quota"]


class NotAStory(ValueError):
    """The line that cannot be read, and why."""


@dataclass(frozen=True)
class Wallet:
    used: int
    uncovered: int
    available: int
    locked: bool
    written_off: int = 0


@dataclass(frozen=True)
class Table:
    """By name what stands at each wallet, and (drawn, quota) of each allocation."""

    wallets: dict[str, Wallet]
    allocations: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        lines = ["", "wallet            used  uncovered  available"]
        for name, one in self.wallets.items():
            marks = "  locked" * one.locked + f"  written off {one.written_off}" * bool(one.written_off)
            lines.append(f"{name:12}{one.used:>10}{one.uncovered:>11}{one.available:>11}{marks}")
        lines.append("allocation       drawn      quota")
        lines += [f"{name:12}{drawn:>10}{quota:>11}" for name, (drawn, quota) in self.allocations.items()]
        return "\n".join(lines)


@dataclass
class Step:
    """What is done, in the form of the players; the code of the refusal that must come; what must stand afterwards."""

    line: int
    done: dict[str, Any]
    refused: str | None = None
    then: Table | None = None


@dataclass
class Story:
    name: str
    charged: str
    grace: int
    wallets: list[str]
    steps: list[Step] = field(default_factory=list)

    @property
    def scenario(self) -> dict[str, Any]:
        """What a player is made of."""
        return {
            "charged": self.charged,
            "grace": self.grace * DAY,
            "wallets": self.wallets,
            "steps": [step.done for step in self.steps],
        }


def stories() -> Iterator[Story]:
    """All stories of the folder, each once for every way of charging that it is told for."""
    for path in sorted(FOLDER.glob("*.txt")):
        yield from read(path.read_text(), path.name)


def read(text: str, where: str = "text") -> Iterator[Story]:
    """raises   NotAStory at the first line that is not of the format"""
    blocks: list[list[tuple[int, str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("== "):
            blocks.append([])
        elif not blocks:
            if line and not line.startswith("#"):
                raise NotAStory(f"{where}:{number}: stands before the first story")
            continue
        blocks[-1].append((number, line))
    names = [lines[0][1] for lines in blocks]
    if len(set(names)) < len(names):
        raise NotAStory(f"{where}: two stories have one name")
    for lines in blocks:
        yield from _story(lines, where)


def _story(lines: list[tuple[int, str]], where: str) -> Iterator[Story]:
    name = lines[0][1].removeprefix("== ").strip()
    facts: dict[str, list[str]] = {}
    body: list[tuple[int, str]] = []
    for number, line in lines[1:]:
        key, colon, rest = line.partition(": ")
        if colon and key in {"charged", "wallets"} and key not in facts and not body:
            facts[key] = [part.strip() for part in rest.split(";" if key == "charged" else None)]
        elif line.startswith("day ") or (body and line.startswith("  ")):
            body.append((number, line))
        elif not line or line.startswith(("  ", "> ")) or not facts:
            pass  # what is told, before the facts or marked as a remark
        else:
            raise NotAStory(f"{where}:{number}: neither a fact, a step, a table nor a remark")
    if facts.keys() != {"charged", "wallets"} or not body:
        raise NotAStory(f"{where}:{lines[0][0]}: a story has `charged`, `wallets` and steps")
    for charged in facts["charged"]:
        match = _CHARGED.fullmatch(charged)
        if match is None:
            raise NotAStory(f"{where}:{lines[0][0]}: charged is `level` or `over time, grace N`")
        told = f"{name} ({charged})" if len(facts["charged"]) > 1 else name
        kind = "once" if charged == "level" else "over_time"
        story = Story(told, kind, int(match[1] or 0), facts["wallets"])
        _fill(story, body, where)
        yield story


def _fill(story: Story, body: list[tuple[int, str]], where: str) -> None:
    made: list[str] = []
    place, today = 0, None
    while place < len(body):
        number, line = body[place]
        place += 1
        step = _step(line.rstrip(), number, where)
        if today is not None and step.done["at"] < today:
            raise NotAStory(f"{where}:{number}: time does not go back")
        today = step.done["at"]
        _check_names(step.done, story.wallets, made, f"{where}:{number}")
        if step.done["op"] == "allocate" and step.refused is None:
            made.append(step.done["id"])
        table: list[tuple[int, list[str]]] = []
        while place < len(body) and body[place][1].startswith("  "):
            table.append((body[place][0], body[place][1].split()))
            place += 1
        if table:
            step.then = _table(table, story.wallets, made, where)
        story.steps.append(step)
    if story.steps[-1].then is None:
        raise NotAStory(f"{where}:{body[-1][0]}: a story ends with a table")


def _step(line: str, number: int, where: str) -> Step:
    told = _STEP.fullmatch(line)
    if told is not None:
        at = int(told["day"]) * DAY
        for pattern, deed in _DEEDS:
            match = pattern.fullmatch(told["deed"])
            if match is None:
                continue
            fields: dict[str, Any] = {}
            for key, value in match.groupdict().items():
                if value is not None:
                    fields[key] = value if key in _TEXT else int(value) * (DAY if key in _DAYS else 1)
            if "on" in fields:
                fields["used_at"] = fields.pop("on")
            if deed == "gives back":
                fields["amount"] = -fields["amount"]
            if fields.get("source") == "provider":
                fields["source"] = None
            op = "charge" if deed in {"uses", "gives back"} else deed
            return Step(number, {"op": op, "at": at, **fields}, told["code"])
    raise NotAStory(f"{where}:{number}: no step reads like this: {line}")


def _check_names(done: dict[str, Any], wallets: list[str], made: list[str], where: str) -> None:
    for key in ("wallet", "source"):
        if done.get(key) is not None and done[key] not in wallets:
            raise NotAStory(f"{where}: no wallet is called {done[key]}")
    if done["op"] == "allocate":
        if done["id"] in made:
            raise NotAStory(f"{where}: {done['id']} was made before")
        return
    for key in ("id", "to"):
        if key in done and done[key] not in made:
            raise NotAStory(f"{where}: no allocation is called {done[key]}")


def _table(lines: list[tuple[int, list[str]]], wallets: list[str], made: list[str], where: str) -> Table:
    expected = ["wallet", *wallets, *(["allocation", *made] if made else [])]
    if [words[0] for _, words in lines] != expected:
        raise NotAStory(f"{where}:{lines[0][0]}: a table names every wallet, then every allocation, in their order")
    table = Table({}, {})
    below = False
    for number, words in lines:
        if words[0] == "wallet" and not table.wallets:
            good = words == _WALLETS
        elif words[0] == "allocation" and len(table.wallets) == len(wallets) and not below:
            below = True
            good = words == _ALLOCATIONS
        else:
            good = _row(table, words, below)
        if not good:
            raise NotAStory(f"{where}:{number}: no row of a table reads like this: {' '.join(words)}")
    return table


def _row(table: Table, words: list[str], below: bool) -> bool:
    pattern = r"(\S+) (\d+) (\d+)" if below else r"(\S+) (\d+) (\d+) (\d+)( locked)?(?: written off (\d+))?"
    match = re.fullmatch(pattern, " ".join(words))
    if match is None:
        return False
    figures = [int(figure) for figure in match.groups()[1 : 3 if below else 4]]
    if below:
        table.allocations[words[0]] = (figures[0], figures[1])
    else:
        table.wallets[words[0]] = Wallet(*figures, locked=bool(match[5]), written_off=int(match[6] or 0))
    return True
