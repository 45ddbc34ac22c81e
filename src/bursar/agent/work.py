"""The agent at work: listens, makes backends match, measures, tells, and says that it lives. One process, some threads.

What changed is kept on disk together with how far we have read, and stays outstanding until it was worked at to the end; a
failing one is tried again ever less often and holds up no other.
"""

import heapq
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

from bursar import __version__
from bursar.agent.client import Away, Client, Refused
from bursar.agent.configuration import BackendPart, Configuration
from bursar.agent.desk import Desk
from bursar.agent.metering import AFTERWARDS, Meter
from bursar.agent.store import Store, Subject
from bursar.kernel.clock import now
from bursar.plugins import wire
from bursar.plugins.contract import (
    Busy,
    EndsAccounts,
    Finding,
    Health,
    Imports,
    ManagesAccounts,
    Member,
    NeedsAction,
    OfferingDefaults,
    Outcome,
    Plugin,
    Severity,
    can,
    words_of,
)
from bursar.plugins.contract import (
    Refused as PluginRefused,
)
from bursar.plugins.steps import Unreachable, Wish, asked, bring, keep, mend

logger = logging.getLogger(__name__)

WISHES_AT_ONCE: Final = 5
PAUSE_MAX_SECONDS: Final = 300.0
BEAT_SECONDS: Final = 15.0
WAIT_SECONDS: Final = 25
TAKE_OVER_SECONDS: Final = 15.0
_KEPT_WORDS: Final = 50
OUTPUTS_KEPT: Final = 20
OUTPUT_LENGTH_MAX: Final = 1_500
OWN_KINDS: Final = frozenset(
    f"resource.{what}" for what in ("ok", "paused", "terminated", "changed", "unreachable", "work_awaited", "message")
)
"""Of events that follow from what an agent told."""


class NotInCharge(Exception):
    """Another agent is in charge, or this one was never accepted; the message says what to do."""


@dataclass(order=True)
class Due:
    """A resource or an account to be looked at at a time of the process's clock."""

    at: float
    pk: int = field(compare=False)
    attempts: int = field(default=0, compare=False)
    mend: bool = field(default=False, compare=False)
    kind: str = field(default="resource", compare=False)

    @property
    def key(self) -> "Key":
        return self.kind, self.pk


Key = tuple[str, int]


class Queue:
    """Resources and accounts by when they are due; each is in hand once at a time, and what comes meanwhile is done after."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.monotonic  # the seconds in which `Due.at` is counted
        self._changed = threading.Condition()
        self._heap: list[Due] = []
        self._waiting: dict[Key, Due] = {}
        self._in_hand: set[Key] = set()
        self._again: dict[Key, Due] = {}
        self.closed = False

    def put(self, due: Due) -> None:
        """The earlier of two for one thing counts."""
        with self._changed:
            if due.key in self._in_hand:
                self._again[due.key] = _earlier(self._again.get(due.key), due)
                return
            known = self._waiting.get(due.key)
            chosen = _earlier(known, due)
            if chosen is not known:
                self._waiting[due.key] = chosen
                heapq.heappush(self._heap, chosen)
            self._changed.notify()

    def take(self, *, wait: bool = True) -> Due | None:
        """The next that is due; None: the queue was closed, or (not `wait`) nothing is due now."""
        with self._changed:
            while not self.closed:
                while self._heap and self._waiting.get(self._heap[0].key) is not self._heap[0]:
                    heapq.heappop(self._heap)  # an earlier one took its place
                left = self._heap[0].at - self.now() if self._heap else None
                if left is not None and left <= 0:
                    due = heapq.heappop(self._heap)
                    del self._waiting[due.key]
                    self._in_hand.add(due.key)
                    return due
                if not wait:
                    return None
                self._changed.wait(left)
        return None

    def done(self, key: Key, again: Due | None = None) -> None:
        with self._changed:
            self._in_hand.discard(key)
            meanwhile = self._again.pop(key, None)
        for due in (again, meanwhile):
            if due is not None:
                self.put(due)

    def holds(self, key: Key) -> bool:
        with self._changed:
            return key in self._waiting or key in self._in_hand

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting) + len(self._in_hand)


def _earlier(one: Due | None, other: Due) -> Due:
    if one is None:
        return other
    first, second = sorted((one, other))
    return Due(first.at, first.pk, first.attempts, first.mend or second.mend, first.kind)


@dataclass
class Trouble:
    """Something that does not go through, and since when, for the page."""

    subject: str
    message: str
    since: str
    attempts: int = 1


class Agent:
    """`come_forward` first; then `run`, or `run_once`."""

    def __init__(self, configuration: Configuration, client: Client, store: Store, say: Callable[[str], None]) -> None:
        self.configuration, self.client, self.store, self.say = configuration, client, store, say
        self.parts: dict[int, BackendPart] = {}
        self.queue = Queue()
        self.stopping = threading.Event()
        self.lost = threading.Event()
        self.trouble: dict[str, Trouble] = {}
        self.mended: deque[dict[str, str]] = deque(maxlen=_KEPT_WORDS)
        self.set_aside: deque[dict[str, Any]] = deque(maxlen=_KEPT_WORDS)
        self.health: dict[int, Health] = {}
        self.rival: Mapping[str, Any] = {}
        self.worked: deque[tuple[str, Plugin]] = deque(maxlen=200)
        self.to_tell = threading.Event()
        self._meter: Meter | None = None
        self._lock = threading.Lock()

    @property
    def meter(self) -> Meter:
        assert self._meter is not None
        return self._meter

    # -------------------------------------------------------------------------------------------- coming forward
    def come_forward(self) -> None:
        """Say who we are and which backends we look after.

        raises   Away; Refused; Wrong
        """
        session = uuid4()
        told = self.client.post(
            "/provider/agent/hello",
            {
                "instance": str(self.store.instance()),
                "session": str(session),
                "host": self.configuration.agent.host or socket.gethostname(),
                "version": __version__,
                "clock": now().isoformat(),
                "backends": [self._declared(part) for part in self.configuration.backend],
            },
        )
        self.client.session = session
        by_name = {part.name: part for part in self.configuration.backend}
        self.parts = {pk: by_name[name] for name, pk in told["backends"].items()}
        self._meter = Meter(
            self.client,
            self.store,
            {pk: part.name for pk, part in self.parts.items()},
            self.plugin,
            self._note_set_aside,
        )
        self.lost.clear()
        ahead = told["clock_ahead_ms"] / 1000
        if abs(ahead) > 60:
            self.say(f"The clock here is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Bursar's: mend it.")
        self.say(f"In charge of {', '.join(sorted(by_name))} for {told['provider']}.")

    def _declared(self, part: BackendPart) -> dict[str, Any]:
        plugin = self.configuration.plugin(part)
        kind = type(plugin)
        try:
            defaults = asked(plugin.offering_defaults)
        except Unreachable:  # the backend is away; what was declared before stays true enough
            defaults = OfferingDefaults(kind.default_components, kind.default_order_form)
        told = wire.dump(defaults)
        return {
            "name": part.name,
            "plugin": part.plugin,
            "title": kind.title,
            "version": kind.version,
            "abilities": list(plugin.abilities()),
            "components": told["components"],
            "order_form": told["order_form"],
        }

    def plugin(self, backend_id: int) -> Plugin:
        """For one piece of work; what its commands print meanwhile is kept.

        raises   Unreachable
        """
        part = self.parts[backend_id]
        plugin = asked(lambda: self.configuration.plugin(part))
        self.worked.append((now().isoformat(timespec="seconds"), plugin))
        return plugin

    def outputs(self) -> list[dict[str, Any]]:
        """What the provider's own commands printed lately, those that failed first."""
        kept = [
            {"at": at, **wire.dump(output), "text": output.text[-OUTPUT_LENGTH_MAX:]}
            for at, plugin in list(self.worked)
            for output in list(plugin.outputs)
            if output.text or output.exit_code
        ]
        return sorted(kept[-OUTPUTS_KEPT:], key=lambda one: one["exit_code"] == 0)

    # -------------------------------------------------------------------------------------------- reading
    def catch_up(self) -> None:
        """Read all that there is, or all that came since the mark, and queue what is to be done.

        raises   Away; Refused
        """
        if self.store.mark is None:
            self.read_snapshot()
        while self.read_events(wait=0):
            pass
        for subject in self.store.outstanding():
            self._queue(subject)

    def read_snapshot(self) -> None:
        cursor, number = "", None
        seen: dict[str, list[int]] = {kind: [] for kind in ("resource", "order", "wallet", "project", "account")}
        while True:
            part = self.client.get("/provider/snapshot", cursor=cursor)
            number = part["number"] if number is None else number
            # Of the first part's number: what changed since then comes again by the feed.
            events = [{**one, "number": number} for one in part["subjects"]]
            self.store.keep_events(events, mark=None)
            for one in part["subjects"]:
                seen[one["subject"]].append(one["id"])
            if part["next"] is None:
                break
            cursor = part["next"]
        self.store.begin_anew(seen, number, ended_before=(now() - 2 * AFTERWARDS).isoformat())
        for subject in self.store.outstanding():
            self._queue(subject)

    def read_events(self, *, wait: int) -> bool:
        """Read the next page of the feed and keep it; whether there was anything.

        raises   Away; Refused
        """
        mark = self.store.mark or 0
        page = self.client.get("/provider/events", after=mark, wait=wait)
        if page["last_number"] < mark:  # it is not the Bursar that we knew: restored from an old copy
            self.say("Bursar's feed is behind what was read already: reading everything anew.")
            self.store.forget_numbers()
            self.read_snapshot()
            return True
        events = page["events"]
        if not events:
            return False
        self.store.keep_events(events, mark=events[-1]["number"])
        for event in events:
            subject = self.store.subject(event["subject"], event["id"])
            if subject is not None:
                self._queue(subject, event["kinds"])
        return True

    def _queue(self, subject: Subject, kinds: Sequence[str] = ()) -> None:
        """Resources are worked at; of the rest the kept state is all that is needed.

        What an event only says because this agent said it is no reason to work again: a pause goes on, and what matches
        is done.
        """
        ours = subject.state is not None and subject.state.get("backend_id") in self.parts
        if subject.kind == "account" and subject.state is not None and ours and subject.state["work"]:
            self.queue.put(Due(self.queue.now(), subject.id, kind="account"))
        elif subject.kind != "resource" or subject.state is None or not ours:
            self.store.note_done(subject.kind, subject.id, subject.number)
        elif not kinds or not OWN_KINDS.issuperset(kinds):
            self.queue.put(Due(self.queue.now(), subject.id))
        elif not self.queue.holds(("resource", subject.id)):
            if subject.state["wish"]["matches"]:
                self.store.note_done(subject.kind, subject.id, subject.number)
            else:
                self.queue.put(Due(self.queue.now(), subject.id))

    # -------------------------------------------------------------------------------------------- one resource
    def work(self, due: Due) -> Due | None:
        """Bring a backend to match as to one thing; answers when it is to be looked at again, None = when something changes.

        raises   NotInCharge
        """
        subject = self.store.subject(due.kind, due.pk)
        if subject is None or subject.state is None:
            return None
        name = f"{due.kind} {due.pk}"
        try:
            again = self._work(subject, due) if due.kind == "resource" else self._work_account(subject, due)
        except Away as error:
            return self._later(due, name, f"Bursar does not answer: {error}")
        except Refused as refusal:
            if refusal.code == "agent_not_in_charge":
                raise NotInCharge(refusal.detail) from None
            if refusal.status == 404:  # it is not ours any more
                again = None
            else:
                return self._later(due, name, str(refusal))
        except Exception as error:
            logger.exception("working at %s failed", name)
            return self._later(due, name, f"{type(error).__name__}: the agent's log says where")
        if again is None:
            self.trouble.pop(name, None)
            self.store.note_done(due.kind, due.pk, subject.number)
        return again

    def _later(self, due: Due, name: str, message: str, *, seconds: float | None = None) -> Due:
        pause = min(2.0 * 2 ** min(due.attempts, 10), PAUSE_MAX_SECONDS) if seconds is None else seconds
        known = self.trouble.get(name)
        since = known.since if known else now().isoformat(timespec="seconds")
        self.trouble[name] = Trouble(name, message[:1000], since, due.attempts + 1)
        return Due(self.queue.now() + pause, due.pk, due.attempts + 1, due.mend, due.kind)

    def _work(self, subject: Subject, due: Due) -> Due | None:
        assert subject.state is not None
        desk = Desk(self.client, self.store, subject.state, self.meter.last_usage_is_in)
        name = f"resource {due.pk}"
        for _ in range(WISHES_AT_ONCE):
            wish, state = desk.wish(), desk.state["state"]
            if state == "terminated" or (state == "failed" and not wish.gone):
                return None
            if wish.matches:
                return self._keep(desk, wish, due)
            try:
                answer = bring(self.plugin(desk.state["backend_id"]), wish, desk)
            except Unreachable as error:
                desk.note_unreachable(str(error))
                return self._later(due, name, str(error))
            if answer is None:
                continue
            still = desk.note_answer(wish, answer)
            if isinstance(answer, Busy):
                if still:
                    return self._later(due, name, answer.message, seconds=min(max(answer.retry_after_seconds, 1), 600))
            elif isinstance(answer, NeedsAction) and still:
                return self._later(due, name, answer.what, seconds=60)
        return Due(self.queue.now() + 1, due.pk)

    def _work_account(self, subject: Subject, due: Due) -> Due | None:
        """Have one account made, blocked or removed at the backend, and say what it answered."""
        state = subject.state
        assert state is not None
        name = f"account {due.pk}"
        for _ in range(WISHES_AT_ONCE):
            work = state["work"]
            if not work:
                return None
            try:
                answer = self._ask_account(self.plugin(state["backend_id"]), work, wire.load(Member, state["member"]))
            except Unreachable as error:
                return self._later(due, name, str(error))
            if answer is None:
                return None
            told = self.client.post(
                f"/provider/local-accounts/{due.pk}/answers", {"work": work, "answer": wire.dump_answer(answer)}
            )
            state = told["state"]
            self.store.keep_state("account", due.pk, state)
            if isinstance(answer, Busy) and told["still"]:
                return self._later(due, name, answer.message, seconds=min(max(answer.retry_after_seconds, 1), 600))
            if isinstance(answer, NeedsAction | PluginRefused) and told["still"]:
                return self._later(due, name, words_of(answer), seconds=PAUSE_MAX_SECONDS)
        return Due(self.queue.now() + 1, due.pk, kind="account")

    def _ask_account(self, plugin: Plugin, work: str, member: Member) -> Outcome | None:
        """None: the plugin does not do this, and somebody else has to."""
        if work == "make":
            return asked(lambda: plugin.ensure_account(member)) if can(plugin, ManagesAccounts) else None
        if not can(plugin, EndsAccounts):
            return None
        if work == "remove":
            return asked(lambda: plugin.remove_account(member))
        return asked(lambda: plugin.block_account(replace(member, blocked=True)))

    def _keep(self, desk: Desk, wish: Wish, due: Due) -> Due | None:
        """Members and quota of a resource that matches; with `mend`, everything that may have been changed by hand."""
        name = f"resource {due.pk}"
        try:
            plugin = self.plugin(desk.state["backend_id"])
            if due.mend:
                mended = mend(plugin, wish, desk)
                if mended is not None and mended[1]:
                    self._note_mended(desk, " ".join(mended[1]))
                answer = None if mended is None else mended[0]
            else:
                step = keep(plugin, wish, desk, force=False)
                answer = None if step is None else step[0]
        except Unreachable as error:
            desk.note_in_step(str(error), unreachable=True)
            return self._later(due, name, str(error))
        if answer is None:
            return Due(self.queue.now() + 1, due.pk)
        if isinstance(answer, Busy):
            return self._later(due, name, answer.message, seconds=min(max(answer.retry_after_seconds, 1), 600))
        message = words_of(answer)
        if message or desk.state["message"]:
            desk.note_in_step(message)
        return self._later(due, name, message, seconds=PAUSE_MAX_SECONDS) if message else None

    def _note_mended(self, desk: Desk, words: str) -> None:
        words = f"Mended: {words}".strip()
        self.mended.append(
            {"at": now().isoformat(timespec="seconds"), "resource": str(desk.state["id"]), "what": words[:500]}
        )
        desk.say(words, "warning")

    # -------------------------------------------------------------------------------------------- usage and health
    def measure_all(self) -> None:
        for backend_id, part in self.parts.items():
            name = f"measuring {part.name}"
            try:
                self.meter.measure(backend_id)
                self.trouble.pop(name, None)
            except Unreachable as error:
                self._trouble(name, str(error))
        self.to_tell.set()

    def tell_all(self) -> bool:
        """Tell the usage that is kept; whether Bursar took what it could.

        raises   NotInCharge
        """
        try:
            self.meter.tell()
            self.trouble.pop("telling usage", None)
            return True
        except Away as error:
            self._trouble("telling usage", f"Bursar does not answer: {error}")
        except Refused as refusal:
            if refusal.code == "agent_not_in_charge":
                raise NotInCharge(refusal.detail) from None
            self._trouble("telling usage", str(refusal))
        return False

    def _trouble(self, name: str, message: str) -> None:
        known = self.trouble.get(name)
        since = known.since if known else now().isoformat(timespec="seconds")
        self.trouble[name] = Trouble(name, message[:1000], since, known.attempts + 1 if known else 1)

    def _note_set_aside(self, records: Sequence[Mapping[str, Any]]) -> None:
        for one in records:
            logger.warning("set aside by Bursar: %s: %s", one["record_id"], one["why"])
            self.set_aside.append({"id": one["record_id"], "why": one["why"]})

    def look_at_health(self) -> None:
        for backend_id in self.parts:
            try:
                plugin = self.plugin(backend_id)
                self.health[backend_id] = asked(plugin.check_health)
            except Unreachable as error:
                self.health[backend_id] = Health((Finding(Severity.BROKEN, "Backend", str(error)[:1000]),))

    def tell_importable(self) -> None:
        """Say what is at the backends that was not made for Bursar.

        raises   Away; Refused
        """
        for backend_id, part in self.parts.items():
            try:
                plugin = self.plugin(backend_id)
                if not can(plugin, Imports):
                    continue
                things = asked(plugin.importable)
            except Unreachable as error:
                self._trouble(f"looking at what is at {part.name}", str(error))
                continue
            self.trouble.pop(f"looking at what is at {part.name}", None)
            told = [
                {
                    key: value
                    for key, value in wire.dump(thing).items()
                    if key in {"backend_id", "name", "limits", "form", "state"}
                }
                for thing in things
            ]
            self.client.put(f"/provider/backends/{backend_id}/importable", {"found": told})

    def status(self) -> dict[str, Any]:
        """What is told to Bursar and kept for `bursar agent status`."""
        outstanding = self.store.outstanding()
        first = min((subject.number for subject in outstanding), default=None)
        mark = self.store.mark or 0
        return {
            "done_number": mark if first is None else min(mark, first - 1),
            "read_number": mark,
            "outstanding": len(outstanding),
            "trouble": [
                {"subject": t.subject, "message": t.message, "since": t.since, "attempts": t.attempts}
                for t in list(self.trouble.values())[:_KEPT_WORDS]
            ],
            "spool": self.store.spool(),
            "set_aside": list(self.set_aside)[-10:],
            "mended": list(self.mended)[-20:],
            "measured_at": dict(self.meter.measured_at),
            "outputs": self.outputs(),
        }

    def beat(self) -> None:
        """raises   Away; NotInCharge"""
        status = self.status()
        self.store.keep("status", wire.to_text({**status, "at": now().isoformat(timespec="seconds")}))
        try:
            told = self.client.post(
                "/provider/agent/beat",
                {
                    "clock": now().isoformat(),
                    "status": status,
                    "health": {str(pk): wire.dump(health) for pk, health in self.health.items()},
                },
            )
        except Refused as refusal:
            if refusal.code == "agent_not_in_charge":
                raise NotInCharge(refusal.detail) from None
            self._trouble("saying that it lives", str(refusal))
            return
        if told["rival"] and told["rival"] != self.rival:
            rival = told["rival"]
            self.say(
                f"Another agent, on {rival['host']} ({rival['address']}), was refused at {rival['at']}: stop one of the two."
            )
        self.rival = told["rival"]

    def mend_all(self) -> None:
        """Read everything anew and have every resource compared with its backend.

        raises   Away; Refused
        """
        self.read_snapshot()
        for subject in self.store.subjects("resource"):
            if (
                subject.state is not None
                and subject.state["backend_id"] in self.parts
                and subject.state["terminated_at"] is None
            ):
                self.queue.put(Due(self.queue.now(), subject.id, mend=True))

    # -------------------------------------------------------------------------------------------- running
    def run_once(self) -> None:
        """Do what is to be done now, read and tell the usage, and end.

        raises   Away; Refused; NotInCharge
        """
        self.look_at_health()
        self.catch_up()
        while (due := self.queue.take(wait=False)) is not None:
            again = self.work(due)
            self.queue.done(due.key, again)
            self.read_events(wait=0)
        self.measure_all()
        self.tell_all()
        self.tell_importable()
        self.beat()
        self.leave()

    def leave(self) -> None:
        """So that another may take over at once; not being heard is no trouble."""
        try:
            self.client.post("/provider/agent/bye")
        except (Away, Refused) as error:
            logger.info("could not say good-bye: %s", error)

    def run(self) -> None:
        """Until `stopping`: all threads, each of which begins anew after what it does not know."""
        self.look_at_health()
        agent = self.configuration.agent
        jobs: list[tuple[str, Callable[[], None]]] = [
            ("listen", self._listen),
            ("tell", self._tell),
            ("measure", lambda: self._every(agent.usage_every_seconds, self.measure_all)),
            ("beat", lambda: self._every(BEAT_SECONDS, self.beat)),
            ("health", lambda: self._every(agent.health_every_seconds, self.look_at_health, first=False)),
            ("importable", lambda: self._every(max(agent.health_every_seconds, 60), self.tell_importable)),
            ("mend", lambda: self._every(agent.reconcile_every_minutes * 60, self.mend_all, first=False)),
            *((f"work-{place}", self._take) for place in range(agent.workers)),
        ]
        threads = [threading.Thread(target=self._guard, args=(name, job), name=name, daemon=True) for name, job in jobs]
        for thread in threads:
            thread.start()
        while not self.stopping.wait(0.5) and not self.lost.is_set():
            pass
        self.queue.close()
        self.to_tell.set()
        for thread in threads:
            thread.join(timeout=3)

    def _guard(self, name: str, job: Callable[[], None]) -> None:
        while not self._ending():
            try:
                job()
            except NotInCharge as error:
                self.say(f"Not in charge any more: {error}")
                self.lost.set()
            except (Away, Refused) as error:
                if isinstance(error, Refused) and error.code == "agent_not_in_charge":
                    self.say(f"Not in charge any more: {error.detail}")
                    self.lost.set()
                self._trouble(name, str(error))
                self.stopping.wait(2)
            except Exception as error:
                logger.exception("%s failed", name)
                self._trouble(name, f"{type(error).__name__}: the agent's log says where")
                self.stopping.wait(5)

    def _ending(self) -> bool:
        return self.stopping.is_set() or self.lost.is_set()

    def _every(self, seconds: float, job: Callable[[], None], *, first: bool = True) -> None:
        if not first:
            self._rest(seconds)
        while not self._ending():
            begin = time.monotonic()
            job()
            self._rest(max(0.1, seconds - (time.monotonic() - begin)))

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._ending() and (left := until - time.monotonic()) > 0:
            self.stopping.wait(min(left, 1))

    def _listen(self) -> None:
        self.catch_up()
        while not self._ending():
            self.read_events(wait=WAIT_SECONDS)
            self.trouble.pop("listen", None)

    def _take(self) -> None:
        while not self._ending() and (due := self.queue.take()) is not None:
            again: Due | None = Due(self.queue.now() + 5, due.pk, due.attempts + 1, due.mend, due.kind)
            try:
                again = self.work(due)
            finally:
                self.queue.done(due.key, again)

    def _tell(self) -> None:
        pause = 1.0
        while not self._ending():
            self.to_tell.wait(5)
            self.to_tell.clear()
            if self.store.spool()["count"] == 0:
                continue
            pause = 1.0 if self.tell_all() else min(pause * 2, 60)
            self._rest(pause)
