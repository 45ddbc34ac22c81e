"""From an installation with one account to a job that ran, was counted and used the quota up: through pages alone.

Five people, each at a browser of their own, on a web server, a worker and a database of their own; the simulator is the
cluster. Nothing is prepared beside them and nothing is read behind their backs: what the story knows it reads from pages
and from the mails that left.
"""

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.installation import Installation, await_true
from tests.web.conftest import Visitor

SPEED = 300  # of the simulator's seconds in one of ours: a quarter of an hour takes three seconds
PASSWORD = "a horse counts core-hours"
WORKER_SECONDS = 60
FIGURES = ("Quota", "Used here", "Available")  # headings of the lists of wallets
END = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()


@pytest.fixture
def installation() -> Iterator[Installation]:
    made = Installation(has_tables=True)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A simulator: its address and its token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_urlsafe(16)
    with (tmp_path / "simulator.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "bursar.plugins.simulator.backend",
                "--port", str(port), "--state", str(tmp_path / "world.json"), "--speed", str(SPEED),
            ],
            stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "BURSAR_SIMULATOR_TOKEN": token},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        await_true("the simulator", lambda: _answers(url), 30)
        yield url, token
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


class Actor(Visitor):
    """Somebody in the story: a visitor who presses what they see and looks at the result in three looks."""

    def press(self, name: str, *, kind: str = "button", sure: bool = False) -> None:
        """Press a button or link; `sure` answers the question that comes before it is done."""
        with self.page.expect_event("load"):
            self.page.get_by_role(kind, name=name, exact=True).first.click()
            if sure:
                self.page.locator("#ask button").last.click()
        self.check()

    def follow(self, name: str) -> None:
        self.press(name, kind="link")

    def follow_card(self, title: str) -> None:
        with self.page.expect_event("load"):
            self.page.get_by_role("link").filter(has=self.page.get_by_role("heading", name=title)).click()
        self.check()

    def write(self, **values: str) -> None:
        """Fill fields by their labels; an underscore stands for a space."""
        for label, value in values.items():
            self.page.get_by_label(label.replace("_", " "), exact=True).fill(value)

    def sees(self, *texts: str) -> None:
        for text in texts:
            expect(self.page.get_by_text(text).first).to_be_visible()

    def told(self, label: str, name: str = "") -> str:
        """A figure of the page as one line: of the row named so, under that heading."""
        row = self.page.get_by_role("row").filter(has_text=name).first
        return " ".join(row.locator(f"td[data-label='{label}']").inner_text().split())

    def show(self, name: str) -> None:
        super().show(f"story-{name}")

    def await_text(self, text: str, *, seconds: float = WORKER_SECONDS) -> None:
        """Reload until the page says it: the worker has done its part."""
        begun = time.monotonic()
        while self.page.get_by_text(text).count() == 0:
            assert time.monotonic() - begun < seconds, f"{self.page.url} does not say {text!r} within {seconds} s"
            self.page.wait_for_timeout(700)
            self.page.reload(wait_until="load")
        self.check()


@pytest.fixture
def actor(browser: Any, installation: Installation) -> Iterator[Callable[[], Actor]]:
    opened: list[Actor] = []

    def enter() -> Actor:
        opened.append(Actor(browser, installation.url, None, "light"))
        return opened[-1]

    yield enter
    try:
        for each in opened:
            each.check()
    finally:
        for each in opened:
            each.close()


class Story:
    def __init__(self, installation: Installation, cluster: tuple[str, str], enter: Callable[[], Actor]) -> None:
        self.installation = installation
        self.cluster = cluster
        self.enter = enter
        self.operator = enter()

    # ------------------------------------------------------------------------------------------ people
    def mailed_link(self, to: str, path: str) -> str:
        """The newest link of the kind that a mail brought."""
        found: list[str] = []

        def arrived() -> bool:
            texts = "\n".join(self.installation.mails_to(to))
            found[:] = re.findall(re.escape(self.installation.url) + rf"({path}\S+)", texts)
            return bool(found)

        await_true(f"a mail to {to} with {path}", arrived, WORKER_SECONDS)
        return found[-1]

    def joins(self, name: str, address: str) -> Actor:
        """Somebody without an account takes up an invitation: registers, confirms the address, accepts."""
        person = self.enter()
        page = person.page
        link = self.mailed_link(address, "/invitations/")
        person.go(link)
        person.follow("Register")
        person.write(Full_name=name, Email=address, Password=PASSWORD)
        page.locator("form").get_by_role("button", name="Sign Up").click()
        page.wait_for_load_state()
        person.check()
        person.go(self.mailed_link(address, "/account/confirm-email/"))
        person.press("Confirm")
        if page.get_by_label("Password").count():
            person.write(Email=address, Password=PASSWORD)
            person.press("Log in")
        person.go(link)
        person.press("Accept")
        return person

    def logs_in(self) -> None:
        operator = self.operator
        operator.go("/")
        operator.write(Email=self.installation.operator, Password=self.installation.password)
        operator.press("Log in")
        operator.sees("Hello, The Operator")
        operator.show("empty-home")

    # ------------------------------------------------------------------------------------------ the platform
    def operator_sets_up(self) -> None:
        operator, page = self.operator, self.operator.page
        for name, owner in (("University of the North", "owner@example.org"), ("Computing Centre", "")):
            operator.go("/organizations/")
            operator.follow("New organization")
            operator.write(Name=name, Mail_address_of_its_first_owner=owner)
            operator.press("Create")
        operator.follow("Members")
        operator.follow("Invite")
        operator.write(Mail_address="manager@example.org")
        page.get_by_label("Provider manager").check()
        operator.press("Send the invitation")
        operator.follow("Providers")
        page.get_by_label("Organization").select_option(label="Computing Centre")
        operator.press("Authorize")
        operator.follow("Shelves")
        operator.page.get_by_role("link", name="New shelf").first.click()
        operator.write(Title="Clusters", Short_name="clusters")
        operator.press("Save")
        operator.show("shelves")

    # ------------------------------------------------------------------------------------------ the provider
    def manager_says_what_is_counted(self, manager: Actor) -> None:
        page = manager.page
        manager.go("/provider/")
        manager.sees("The way to your first offering")
        manager.show("provider-empty")
        for title, name, kind, charged, unit, ticks in (
            ("Processor time", "cpu", "compute", "hour", "core-hours", "3600"),
            ("Disk space", "disk", "storage", "once", "GB", "1"),
        ):
            manager.go("/provider/categories/")
            manager.follow("New category")
            manager.write(Title=title, Name=name, Unit=unit, Smallest_amounts_in_one_unit=ticks)
            page.get_by_label("Product type").select_option(kind)
            page.get_by_label("Charged").select_option(charged)
            manager.press("Save")

    def manager_connects(self, manager: Actor) -> None:
        page = manager.page
        url, token = self.cluster
        manager.follow("Backends")
        manager.follow("Connect a backend")
        page.get_by_role("link", name="Simulator").click()
        page.get_by_label("Token").wait_for()
        manager.write(Name="The pretend cluster", Address=url, Token=token)
        manager.press("Connect and test")
        manager.press("Test")
        manager.sees("0 jobs run, 0 wait, on 512 pretend cores.")
        manager.show("backend")

    def manager_publishes(self, manager: Actor) -> None:
        page = manager.page
        manager.follow("Offerings")
        manager.follow("New offering")
        manager.write(Name="Pretend cluster", Summary="Cores and disk space for trials.")
        page.get_by_label("Backend").select_option(label="The pretend cluster")
        page.get_by_label("Shelf").select_option(label="Clusters")
        manager.press("Create draft")
        manager.show("draft")
        offering = page.url.removeprefix(manager.base)

        manager.go(f"{offering}texts/")
        manager.write(Description="A cluster that only pretends.", Terms_of_use="Be **kind** to the queue.")
        manager.press("Save")
        for component, category in (("CPU time", "Processor time (core-hours)"), ("Storage", "Disk space (GB)")):
            manager.go(f"{offering}components/")
            manager.follow(component)
            page.get_by_label("Draws from").select_option(label=category)
            manager.press("Save")
        manager.go(f"{offering}plans/new/")
        manager.write(Name="Standard")
        manager.press("Save")
        page.get_by_role("group", name="Storage").get_by_label("Price").fill("0.02")
        manager.press("Save")
        manager.go(f"{offering}access/")
        manager.write(Access_instructions="Log in as `{username}`, account `{backend_id}`.")
        manager.press("Save")
        manager.go(f"{offering}visibility/")
        page.get_by_label("everyone").check()
        manager.press("Save")
        manager.go(offering)
        manager.show("ready")
        manager.press("Activate")
        manager.sees("It stands in the marketplace.")
        manager.go("/marketplace/")
        manager.sees("Pretend cluster")
        manager.show("marketplace")

    def manager_gives_to_the_university(self, manager: Actor) -> None:
        page = manager.page
        for category, amount in (("Processor time", "10"), ("Disk space", "500")):
            manager.go("/allocations/")
            manager.follow(f"Give quota {category}")
            page.get_by_label("Who gets it").select_option(label="University of the North")
            manager.write(Quota=amount, Until=END)
            manager.press("Give quota")
            manager.sees(f"{amount} {'core-hours' if amount == '10' else 'GB'} given to University of the North.")
        manager.show("root-allocation")

    # ------------------------------------------------------------------------------------------ the university
    def owner_starts_a_project(self, owner: Actor) -> None:
        page = owner.page
        owner.go("/projects/")
        owner.follow("New project")
        owner.write(Name="Sea level", Mail_address_of_the_principal_investigator="pi@example.org")
        owner.press("Create")
        for category, amount in (("Processor time", "2"), ("Disk space", "200")):
            self.opens_wallet(owner, "University of the North", category)
            owner.follow("Give quota")
            page.get_by_label("Who gets it").select_option(label="Sea level")
            owner.write(Quota=amount, Until=END)
            owner.press("Give quota")
        self.opens_wallet(owner, "University of the North", "Processor time")
        owner.sees("Sea level")
        owner.show("tree")

    def opens_wallet(self, person: Actor, holder: str, category: str) -> None:
        person.go("/allocations/")
        row = person.page.get_by_role("row").filter(has_text=holder).filter(has_text=category)
        with person.page.expect_event("load"):
            row.get_by_role("link").first.click()
        person.check()

    def invites(self, person: Actor, address: str) -> None:
        person.go("/projects/")
        person.follow("Sea level")
        person.follow("Members")
        person.follow("Invite")
        person.write(Mail_address=address)
        person.page.get_by_label("Project member").check()
        person.press("Send the invitation")

    # ------------------------------------------------------------------------------------------ ordering
    def researcher_orders(self, researcher: Actor) -> None:
        page = researcher.page
        researcher.go("/marketplace/")
        researcher.follow_card("Pretend cluster")
        researcher.show("offering")
        researcher.follow("Order")
        page.get_by_label("For", exact=True).select_option(label="Sea level")
        researcher.write(Name_of_the_resource="Tides")
        page.get_by_role("spinbutton", name="Storage").fill("100")
        disk, cpu = page.locator("[data-draw=disk]"), page.locator("[data-draw=cpu]")
        expect(disk).to_contain_text("Draws 100\u00a0GB of 200\u00a0GB left")
        expect(cpu).to_contain_text("Draws as it is used, of 2\u00a0core-hours left")
        expect(page.locator("[data-estimate-month]")).to_have_text("2.00\u00a0EUR")
        researcher.show("order-form")
        page.get_by_role("spinbutton", name="Storage").fill("300")
        expect(disk).to_contain_text("That is more than what is left.")
        page.get_by_role("spinbutton", name="Storage").fill("100")
        expect(disk).to_contain_text("Draws 100\u00a0GB of 200\u00a0GB left")
        page.get_by_label("I have read the terms of use and accept them").check()
        researcher.press("Place the order")
        researcher.sees("Waiting for approval", "Anders Holm")
        researcher.show("order-waiting")

    def approves(self, person: Actor, what: str) -> None:
        """From the panel of the first page to the decision."""
        person.go("/")
        panel = person.page.locator(
            "section", has=person.page.get_by_role("heading", name="Orders await your decision")
        )
        with person.page.expect_event("load"):
            panel.get_by_role("link").filter(has_text=what).click()
        person.check()
        person.press("Approve")

    def order_is_carried_out(self, researcher: Actor) -> str:
        researcher.page.reload()  # from here on the page follows by itself
        expect(researcher.page.locator("[data-step=done]")).to_have_attribute(
            "data-step-state", "done", timeout=WORKER_SECONDS * 1000
        )
        researcher.show("order-done")
        researcher.follow("Resource")
        return researcher.page.url.removeprefix(researcher.base)

    # ------------------------------------------------------------------------------------------ using it up
    def runs_a_job(self, researcher: Actor, resource: str, *, cores: int, seconds: int) -> None:
        page = researcher.page
        researcher.go(resource)
        username = page.locator(".list-group-item", has_text="Freja Lindqvist").locator("code").inner_text()
        researcher.sees(f"Log in as {username}, account r")
        researcher.follow("Submit a demo job")
        page.get_by_label("As user").select_option(username)
        researcher.write(Cores=str(cores), Seconds=str(seconds))
        researcher.press("Submit a demo job")
        researcher.sees("Job: ")

    def is_used(self, researcher: Actor, resource: str, figure: str, left: str) -> None:
        """The figures on the resource's page: in all, by person and in the row of its component."""
        researcher.go(resource)
        researcher.await_text(f"in all {figure}")
        row = researcher.page.get_by_role("row", name="CPU time")
        expect(row).to_contain_text(figure)
        expect(row).to_contain_text(left)
        by_person = researcher.page.locator("section", has_text="Who used how much")
        expect(by_person.get_by_role("row", name="Freja Lindqvist")).to_contain_text(figure)
        today = datetime.now(UTC).date().isoformat()
        researcher.page.get_by_text("Show the numbers").first.click()
        expect(researcher.page.get_by_role("row", name=today).first).to_contain_text(
            figure.split("\u00a0", maxsplit=1)[0]
        )

    def is_locked(self, researcher: Actor, resource: str) -> None:
        researcher.await_text("Locked: nothing new may start.")
        researcher.show("locked")
        researcher.follow("Why?")
        researcher.sees("The allocation of 2 core-hours to Sea level is used up.")
        researcher.show("why-locked")
        researcher.go(resource)
        researcher.follow("Submit a demo job")
        researcher.write(Cores="1", Seconds="60")
        researcher.allow(422)
        researcher.page.get_by_role("main").get_by_role("button", name="Submit a demo job").click()
        expect(researcher.page.get_by_role("alert").first).to_be_visible()
        researcher.show("refused")

    def owner_gives_more(self, owner: Actor) -> None:
        owner.go("/")
        owner.sees("Locked")
        self.opens_wallet(owner, "Sea level", "Processor time")
        owner.follow("Change")
        owner.write(Quota="3")
        owner.press("Save")

    # ------------------------------------------------------------------------------------------ change and end
    def changes(self, person: Actor, resource: str) -> None:
        person.go(resource)
        person.follow("Change")
        person.page.get_by_role("spinbutton", name="Storage").fill("150")
        expect(person.page.locator("[data-draw=disk]")).to_contain_text("Draws more: 50\u00a0GB of 100\u00a0GB left")
        expect(person.page.locator("[data-estimate-month]")).to_have_text("3.00\u00a0EUR")
        person.show("change")
        person.press("Order the change")

    def terminates(self, person: Actor, resource: str) -> None:
        person.go(resource)
        person.follow("Terminate")
        person.show("terminate")
        person.press("Order its termination")
        person.sees("because it was placed by: Principal investigator.")

    def figures_at_the_end(self, owner: Actor, manager: Actor) -> None:
        """What was used stands at the project, was drawn through the university, and the disk space is back."""
        for holder, category, quota, used, available in (
            ("Sea level", "Processor time", "3 core-hours", "2.5 core-hours", "0.5 core-hours"),
            ("Sea level", "Disk space", "200 GB", "0 GB", "200 GB"),
            ("University of the North", "Processor time", "10 core-hours", "0 core-hours", "7.5 core-hours"),
            ("University of the North", "Disk space", "500 GB", "0 GB", "500 GB"),
        ):
            owner.go("/allocations/")
            rows = owner.page.get_by_role("row").filter(has_text=category)
            row = rows.filter(has=owner.page.get_by_role("cell", name=holder)).first
            if holder != "Sea level":
                row = rows.filter(has_not_text="Sea level").first
            told = [" ".join(row.locator(f"td[data-label='{h}']").inner_text().split()) for h in FIGURES]
            assert told == [quota, used, available], (holder, category)
        owner.show("allocations-at-the-end")
        manager.go("/allocations/")
        manager.follow("Processor time")
        assert manager.told("Drawn", "University of the North") == "2.5"
        manager.go("/provider/resources/?state=terminated")
        manager.sees("Tides")


def test_story__from_an_empty_installation_to_a_counted_job__each_step_is_a_page(
    installation: Installation, cluster: tuple[str, str], actor: Callable[[], Actor]
) -> None:
    story = Story(installation, cluster, actor)
    story.logs_in()
    story.operator_sets_up()
    manager = story.joins("Sunniva Dahl", "manager@example.org")
    story.manager_says_what_is_counted(manager)
    story.manager_connects(manager)
    story.manager_publishes(manager)
    story.manager_gives_to_the_university(manager)

    owner = story.joins("Mikkel Bruun", "owner@example.org")
    story.owner_starts_a_project(owner)
    investigator = story.joins("Anders Holm", "pi@example.org")
    story.invites(investigator, "researcher@example.org")
    researcher = story.joins("Freja Lindqvist", "researcher@example.org")

    story.researcher_orders(researcher)
    story.approves(investigator, "Tides")
    story.approves(manager, "Tides")
    resource = story.order_is_carried_out(researcher)

    # Of two core-hours, jobs use one and then the other; nothing more starts until there is more.
    story.runs_a_job(researcher, resource, cores=4, seconds=900)
    story.is_used(researcher, resource, "1\u00a0core-hour", left="1\u00a0core-hour")
    story.runs_a_job(researcher, resource, cores=4, seconds=900)
    story.is_used(researcher, resource, "2\u00a0core-hours", left="0\u00a0core-hours")
    story.is_locked(researcher, resource)
    story.owner_gives_more(owner)
    researcher.go(resource)
    expect(researcher.page.get_by_text("Locked: nothing new may start.")).to_have_count(0)
    story.runs_a_job(researcher, resource, cores=2, seconds=900)
    story.is_used(researcher, resource, "2.5\u00a0core-hours", left="0.5\u00a0core-hours")
    researcher.show("resource")

    story.changes(investigator, resource)
    story.approves(owner, "Tides")
    story.approves(manager, "Tides")
    researcher.await_text("150\u00a0GB")
    story.terminates(investigator, resource)
    researcher.go(resource)
    researcher.await_text("Terminated")
    story.figures_at_the_end(owner, manager)
