"""Usage of the past by the million, from a file: in steps that are each durable, to be taken up again where it ended."""

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
from django.db import transaction

from bursar.metering.errors import FAULTS, ReportConflict, ReportsAtFault
from bursar.metering.models import Backfill
from bursar.metering.reports import Report, Told
from bursar.metering.services import post_reports

STEP: Final = 100_000  # reports booked at once
REQUIRED: Final = ("report_id", "amount_ticks", "period_start", "period_end")
OPTIONAL: Final = (
    "category_id", "workspace_id", "is_absolute", "scope", "corrects", "resource_id", "component", "person_id", "user", "job",
    "labels",
)  # fmt: skip

# Given what lines name by resource and component: by place the report that each comes down to, or one of the codes of FAULTS.
Complete = Callable[[Sequence[Told]], Sequence[Report | str]]


@dataclass(frozen=True, slots=True)
class _Unread:
    """A line that is no record of CSV, and why not. In `text` bytes that are not UTF-8 stand as `surrogateescape` has them."""

    text: str
    why: str


_Line = tuple[int, list[str] | _Unread]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A line that cannot be booked. `line` counts from 1, the header included; `code` is one of `errors.FAULTS`."""

    line: int
    report_id: str
    code: str
    message: str


class BackfillStopped(Exception):
    """A step holds lines at fault and was not booked; `done` lines before it are, and are not read again."""

    def __init__(self, wrong: Sequence[Wrong], done: int) -> None:
        super().__init__(wrong, done)
        self.wrong, self.done = wrong, done


class FileNotReadable(ValueError):
    """The file as a whole is not what is expected; the text says how."""


@dataclass(frozen=True, slots=True)
class Progress:
    """lines done of the file, how many reports of it are new, how many were known, how many were set aside.

    earlier   how many of the lines an earlier run did; its figures are in the others
    """

    lines: int
    posted: int
    duplicates: int
    set_aside: int
    earlier: int = 0


def backfill(
    path: Path,
    *,
    category_id: int | None,
    at: Callable[[], datetime],
    complete: Complete,
    progress: Callable[[Progress], None] = lambda _progress: None,
    set_aside: TextIO | None = None,
    step: int = STEP,
) -> Progress:
    """Book the reports of a CSV file, a step at a time, each in a transaction that also notes how far it came.

    path         UTF-8 with a header line: the fields of a report, those that are not REQUIRED where they are needed; each line
                 is a record of its own, also where a text is quoted
    category_id  for files without that column
    at           tells the time
    complete     knows resources; asked only where the file names any
    set_aside    where lines at fault are written, so that the rest is booked; without it the step is refused. A line that is no
                 CSV is written as it is: open it with `surrogateescape`
    raises       FileNotReadable; BackfillStopped. What was booked before stays, and the same file goes on from there
    """
    mark, _ = Backfill.objects.get_or_create(path=str(path.resolve())[:1000])
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines, digest = _lines(file), hashlib.sha256()
        header = _header(next(lines, None), category_id)
        if not _as_before(lines, mark, digest):
            # Another file of that name, or one that was mended further up: reports are known by their names at any rate.
            file.seek(0)
            lines, digest = _lines(file), hashlib.sha256()
            next(lines)
            mark.lines_done = mark.posted = mark.duplicates = mark.set_aside = 0
        total = Progress(mark.lines_done, mark.posted, mark.duplicates, mark.set_aside, earlier=mark.lines_done)
        while chunk := list(islice(lines, step)):
            _digest(chunk, digest)
            mark.content_hash = digest.hexdigest()
            total = _book(chunk, header, category_id, complete, total, mark, at(), set_aside)
            progress(total)
    return total


def _as_before(lines: Iterator[_Line], mark: Backfill, digest: Any) -> bool:
    """Pass over the lines that were booked; whether they are still those."""
    left = mark.lines_done
    while left and (chunk := list(islice(lines, min(left, STEP)))):
        _digest(chunk, digest)
        left -= len(chunk)
    return left == 0 and (not mark.lines_done or digest.hexdigest() == mark.content_hash)


def _digest(chunk: Sequence[_Line], digest: Any) -> None:
    for _, fields in chunk:
        content = fields.text if isinstance(fields, _Unread) else fields
        digest.update(repr(content).encode())


def _header(first: _Line | None, category_id: int | None) -> list[str]:
    line, fields = first or (1, [])
    if isinstance(fields, _Unread):
        raise FileNotReadable(f"line {line}: {fields.why}")
    names = [name.strip() for name in fields]
    known = {*REQUIRED, *OPTIONAL}
    lacking = [name for name in REQUIRED if name not in names]
    if "resource_id" not in names:
        lacking += [name for name in ("workspace_id",) if name not in names]
        lacking += [name for name in ("category_id",) if category_id is None and name not in names]
    strange = [name for name in names if name not in known]
    twice = {name for name in names if names.count(name) > 1}
    if lacking or strange or twice:
        said = [
            *(f"the column {name} is missing" for name in lacking),
            *(f"there is no column {name}" for name in strange),
            *(f"the column {name} is there twice" for name in sorted(twice)),
        ]
        raise FileNotReadable("; ".join(said))
    return names


def _lines(file: TextIO) -> Iterator[_Line]:
    """Line numbers and their fields, or what is wrong with the line as CSV; the header is the first.

    file   opened with `surrogateescape`, so that one line that is not UTF-8 does not take others with it
    """
    at_hand: list[str] = []
    # The reader is given one line and no second one: a stray quote would make one record of all that follows.
    rows = csv.reader(iter(at_hand.pop, None))
    for number, line in enumerate(file, start=1):
        at_hand.append(line)
        try:
            fields = next(rows)
        except IndexError:
            yield number, _Unread(line.rstrip("\r\n"), "a quote is opened that is not closed in this line")
            continue
        except csv.Error as error:
            yield number, _Unread(line.rstrip("\r\n"), str(error))
            continue
        if not line.isascii() and (why := _not_utf8(line)):
            yield number, _Unread(line.rstrip("\r\n"), why)
        elif fields:
            yield number, fields


def _not_utf8(line: str) -> str:
    try:
        line.encode()
    except UnicodeEncodeError:
        try:
            line.encode(errors="surrogateescape").decode()
        except UnicodeDecodeError as error:
            return str(error)
    return ""


def _book(
    chunk: Sequence[_Line],
    header: list[str],
    category_id: int | None,
    complete: Complete,
    total: Progress,
    mark: Backfill,
    at: datetime,
    aside: TextIO | None,
) -> Progress:
    reports: list[Report] = []
    kept: list[_Line] = []
    wrong: list[tuple[Wrong, list[str] | _Unread]] = []
    by_resource = "resource_id" in header or "component" in header
    told: list[Told] = []
    for line, fields in chunk:
        try:
            if by_resource:
                told.append(msgspec.convert(_told(header, fields, category_id), Told))
            else:
                reports.append(msgspec.convert(_told(header, fields, category_id), Report))
            kept.append((line, fields))
        except ValueError as error:
            wrong.append((Wrong(line, "", "invalid", f"{FAULTS['invalid']} {error}"), fields))
    if by_resource:
        answers = list(zip(complete(told), told, kept, strict=True))
        wrong += [
            (Wrong(line, one.report_id, code, FAULTS[code]), fields)
            for code, one, (line, fields) in answers
            if isinstance(code, str)
        ]
        reports = [report for report, _, _ in answers if isinstance(report, Report)]
        kept = [line for report, _, line in answers if isinstance(report, Report)]
    wrong.sort(key=lambda one: one[0].line)
    try:
        return _post(reports, wrong, len(chunk), total, mark, at, aside)
    except (ReportConflict, ReportsAtFault) as refusal:
        bad = {fault.index: fault for fault in refusal.faults}
    wrong += [(Wrong(kept[i][0], f.report_id, f.code, f.message), kept[i][1]) for i, f in bad.items()]
    wrong.sort(key=lambda one: one[0].line)
    if aside is None:
        raise BackfillStopped([one for one, _ in wrong], total.lines)
    rest = [report for index, report in enumerate(reports) if index not in bad]
    return _post(rest, wrong, len(chunk), total, mark, at, aside)


def _post(
    reports: list[Report],
    wrong: list[tuple[Wrong, list[str] | _Unread]],
    lines: int,
    total: Progress,
    mark: Backfill,
    at: datetime,
    aside: TextIO | None,
) -> Progress:
    with transaction.atomic():
        if wrong and aside is None:
            # All that is wrong is told together: what the books say of the others is found out, and taken back.
            post_reports(reports=reports, by=None, at=at, at_most=len(reports))
            raise BackfillStopped([one for one, _ in wrong], total.lines)
        answer = post_reports(reports=reports, by=None, at=at, at_most=len(reports))
        done = Progress(
            total.lines + lines,
            total.posted + answer.posted,
            total.duplicates + len(answer.duplicates),
            total.set_aside + len(wrong),
            total.earlier,
        )
        mark.lines_done, mark.posted = done.lines, done.posted
        mark.duplicates, mark.set_aside = done.duplicates, done.set_aside
        mark.save()
        if aside is not None:
            # Before the step stands: what breaks off in between is set aside twice rather than not at all.
            csv.writer(aside).writerows(
                [one.line, one.code, one.message, *([fields.text] if isinstance(fields, _Unread) else fields)]
                for one, fields in wrong
            )
            aside.flush()
    return done


def _told(header: list[str], fields: list[str] | _Unread, category_id: int | None) -> dict[str, Any]:
    """What a line says, by the names of a report.

    raises   ValueError
    """
    if isinstance(fields, _Unread):
        raise ValueError(fields.why)  # noqa: TRY004  nothing is wrong with the type
    if len(fields) != len(header):
        raise ValueError(f"{len(fields)} fields where {len(header)} are expected")
    told: dict[str, Any] = {name: value for name, value in zip(header, fields, strict=True) if value != ""}
    if "labels" in told:
        try:
            told["labels"] = msgspec.json.decode(told["labels"])
        except RecursionError:
            raise ValueError("what `labels` holds is nested too deeply") from None
    if "is_absolute" in told:
        told["is_absolute"] = {"true": True, "false": False, "1": True, "0": False}.get(
            told["is_absolute"].lower(), told["is_absolute"]
        )
    told.setdefault("category_id", category_id)
    for name in ("category_id", "workspace_id", "amount_ticks", "resource_id", "person_id"):
        if isinstance(told.get(name), str):
            try:
                told[name] = int(told[name])
            except ValueError:
                raise ValueError(f"{name} is not a whole number: {told[name][:40]}") from None
    return told
