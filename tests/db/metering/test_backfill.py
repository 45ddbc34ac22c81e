"""Usage of the past comes in from files, step by step, and goes on where it ended."""

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest

from bursar.accounting.models import Wallet
from bursar.metering.backfill import BackfillStopped, FileNotReadable, Progress, backfill
from bursar.metering.models import UsageReport
from tests.factories.catalogue import make_category
from tests.factories.ledger import AT, YEAR_START, make_allocation
from tests.factories.structure import make_organization, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def category(verified):
    return verified(make_category())


@pytest.fixture
def workspace(category):
    workspace = make_workspace(make_organization("University"))
    make_allocation(workspace, category, 1_000_000)
    return workspace


def write(path: Path, workspace, count: int, **at_line: dict[str, str]) -> Path:
    """A file of an hour's usage each, 7 ticks; `at_line` (line2=...) changes fields of a line, the header being line 1."""
    fields = ["report_id", "workspace_id", "amount_ticks", "period_start", "period_end", "user", "labels"]
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, fields)
        rows.writeheader()
        for number in range(count):
            start = YEAR_START + timedelta(hours=number)
            row = {
                "report_id": f"past-{number}", "workspace_id": workspace.pk, "amount_ticks": 7,
                "period_start": start.isoformat(), "period_end": (start + timedelta(hours=1)).isoformat(),
                "user": "ada", "labels": '{"queue": "long"}',
            }  # fmt: skip
            rows.writerow({**row, **at_line.get(f"line{number + 2}", {})})
    return path


def fill(path: Path, category, **more) -> Progress:
    return backfill(path, category_id=category.pk, at=lambda: AT, complete=no_resources, step=10, **more)


def no_resources(told) -> list[str]:
    raise AssertionError("the file names no resources")


def used() -> int:
    return Wallet.objects.get().used_ticks


def test_backfill__a_file__is_booked_in_steps_and_again_changes_nothing(tmp_path, category, workspace) -> None:
    path = write(tmp_path / "usage.csv", workspace, 25)
    seen: list[int] = []
    assert fill(path, category, progress=lambda so_far: seen.append(so_far.lines)) == Progress(25, 25, 0, 0)
    assert (seen, used()) == ([10, 20, 25], 175)
    assert fill(path, category) == Progress(25, 25, 0, 0, earlier=25)
    assert UsageReport.objects.count() == 25
    assert UsageReport.objects.filter(labels={"queue": "long"}, user="ada").count() == 25


def test_backfill__a_broken_line_in_the_middle__names_it_and_goes_on_once_mended(tmp_path, category, workspace) -> None:
    broken = {"line15": {"amount_ticks": "7.5"}, "line18": {"period_end": "2099-01-01T00:00:00Z"}}
    path = write(tmp_path / "usage.csv", workspace, 25, **broken)
    with pytest.raises(BackfillStopped) as stopped:
        fill(path, category)
    assert [(one.line, one.code) for one in stopped.value.wrong] == [(15, "invalid"), (18, "in_the_future")]
    assert "amount_ticks is not a whole number: 7.5" in stopped.value.wrong[0].message
    assert (stopped.value.done, used()) == (10, 70)
    seen: list[int] = []
    path = write(path, workspace, 25)
    assert fill(path, category, progress=lambda so_far: seen.append(so_far.lines)) == Progress(25, 25, 0, 0, earlier=10)
    assert (seen, used()) == ([20, 25], 175)  # the ten lines that stood were not booked again


def test_backfill__lines_at_fault_set_aside__the_rest_is_booked(tmp_path, category, workspace) -> None:
    wrong = {"line4": {"workspace_id": "999999"}, "line12": {"labels": "{"}}
    path = write(tmp_path / "usage.csv", workspace, 12, **wrong)
    aside = io.StringIO()
    assert fill(path, category, set_aside=aside) == Progress(12, 10, 0, 2)
    rows = list(csv.reader(io.StringIO(aside.getvalue())))
    assert [row[:2] for row in rows] == [["4", "unknown_workspace"], ["12", "invalid"]]
    assert used() == 70


def test_backfill__another_file_of_that_name__starts_anew_and_counts_once(tmp_path, category, workspace) -> None:
    path = write(tmp_path / "usage.csv", workspace, 12)
    fill(path, category)
    write(path, workspace, 14, line3={"user": "bob", "report_id": "other"})
    assert fill(path, category) == Progress(14, 3, 11, 0)
    assert used() == 15 * 7


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("report_id,amount_ticks", "the column period_start is missing"),
        ("report_id,amount_ticks,period_start,period_end,workspace_id,colour", "there is no column colour"),
        ("", "the column report_id is missing"),
        ("report_id,amount_ticks,period_start,period_end", "the column workspace_id is missing"),
    ],
)
def test_backfill__a_header_that_does_not_fit__is_refused(tmp_path, category, header, said) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(f"{header}\n")
    with pytest.raises(FileNotReadable, match=said):
        fill(path, category)


def spoil(path: Path, line: int, content: bytes) -> Path:
    """Put other bytes in the place of a line; the header is line 1."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = content + b"\r\n"
    path.write_bytes(b"".join(lines))
    return path


NO_CSV = [
    (b"past-13,\xff,7", "'utf-8' codec can't decode byte 0xff in position 8: invalid start byte"),
    (b'"past-13,1,7', "a quote is opened that is not closed in this line"),
    (
        b"past-13,1,7,2026-01-01T12:00:00Z,2026-01-01T13:00:00Z,ada," + b"[" * 50_000,
        "what `labels` holds is nested too deeply",
    ),
    (b"x" * 200_000, "field larger than field limit (131072)"),
]


@pytest.mark.parametrize(("content", "said"), NO_CSV)
def test_backfill__a_line_that_is_no_csv__is_named_and_nothing_of_its_step_is_booked(
    tmp_path, category, workspace, content, said
) -> None:
    path = spoil(write(tmp_path / "usage.csv", workspace, 25), 15, content)
    with pytest.raises(BackfillStopped) as stopped:
        fill(path, category)
    assert [(one.line, one.code) for one in stopped.value.wrong] == [(15, "invalid")]
    assert stopped.value.wrong[0].message.endswith(said)
    assert (stopped.value.done, used()) == (10, 70)


@pytest.mark.parametrize("line", [2, 15, 26])
@pytest.mark.parametrize(("content", "_said"), NO_CSV)
def test_backfill__a_line_that_is_no_csv_set_aside__is_kept_as_it_is_and_all_others_are_booked(
    tmp_path, category, workspace, content, _said, line
) -> None:
    path = spoil(write(tmp_path / "usage.csv", workspace, 25), line, content)
    aside = tmp_path / "aside.csv"
    with aside.open("w", encoding="utf-8", newline="", errors="surrogateescape") as file:
        assert fill(path, category, set_aside=file) == Progress(25, 24, 0, 1)
    assert used() == 24 * 7
    assert aside.read_bytes().startswith(f"{line},invalid,".encode())
    assert aside.read_bytes().replace(b'""', b'"').count(content) == 1
    # Mended, it is another file of that name: the one report that lacked is booked.
    assert fill(write(path, workspace, 25), category) == Progress(25, 1, 24, 0)


def test_backfill__names_beyond_ascii__are_kept(tmp_path, category, workspace) -> None:
    path = write(tmp_path / "usage.csv", workspace, 2, line2={"user": "jiří"}, line3={"user": "Ωμέγα"})
    assert fill(path, category) == Progress(2, 2, 0, 0)
    assert set(UsageReport.objects.values_list("user", flat=True)) == {"jiří", "Ωμέγα"}


@pytest.mark.parametrize("first", [b"report_id,\xff", b'"report_id,amount_ticks'])
def test_backfill__a_header_that_is_no_csv__is_refused(tmp_path, category, first) -> None:
    path = tmp_path / "usage.csv"
    path.write_bytes(first + b"\npast-1,2\n")
    with pytest.raises(FileNotReadable, match="line 1: "):
        fill(path, category)
