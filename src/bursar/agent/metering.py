"""Usage: measured by plugins, kept on disk with the plugin's mark, told until it is accepted."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from bursar.agent.client import Client, Refused
from bursar.agent.store import Spooled, Store
from bursar.kernel.clock import now
from bursar.plugins import wire
from bursar.plugins.contract import DesiredResource, MeasuresUsage, Plugin, can
from bursar.plugins.steps import Wish, asked

logger = logging.getLogger(__name__)

AT_ONCE: Final = 2_000
AFTERWARDS: Final = timedelta(days=2)
"""A backend may tell of the last work of a resource a little after it was removed."""


class Meter:
    """Measures and tells, for all backends of this agent."""

    def __init__(
        self,
        client: Client,
        store: Store,
        backends: Mapping[int, str],
        plugin_of: Callable[[int], Plugin],
        set_aside: Callable[[Sequence[Mapping[str, Any]]], None],
    ) -> None:
        self._client, self._store, self._backends, self._plugin_of = client, store, backends, plugin_of
        self._set_aside = set_aside
        self._measuring = threading.Lock()
        self._telling = threading.Lock()
        self.measured_at: dict[str, str] = {}

    def measure(self, backend_id: int) -> None:
        """Ask the plugin what was used since its mark, and keep it.

        raises   Unreachable
        """
        with self._measuring:
            plugin, name = self._plugin_of(backend_id), self._backends[backend_id]
            if not can(plugin, MeasuresUsage):
                return
            for offering, resources in self._by_offering(backend_id).items():
                mark = self._store.measured_to(name, offering)
                batch = asked(lambda mark=mark, resources=resources: plugin.measure(resources, mark))  # type: ignore[misc]
                self._store.keep_records(name, offering, batch.records, batch.mark, now().isoformat())
            self.measured_at[name] = now().isoformat(timespec="seconds")

    def _by_offering(self, backend_id: int) -> dict[int, list[DesiredResource]]:
        wanted: dict[int, list[DesiredResource]] = {}
        for subject in self._store.subjects("resource"):
            if (
                subject.state is not None
                and subject.state["backend_id"] == backend_id
                and _may_have_used(subject.state)
            ):
                wish = wire.load(Wish, subject.state["wish"])
                wanted.setdefault(subject.state["offering_id"], []).append(wish.desired)
        return wanted

    def tell(self) -> int:
        """Tell what is kept, the oldest first; answers how many were taken.

        raises   Away; Refused when the server takes nothing more of a backend for now
        """
        taken = 0
        with self._telling:
            for backend_id, name in self._backends.items():
                after = 0
                while waiting := self._store.spooled(name, AT_ONCE, after=after):
                    after = waiting[-1].place
                    taken += self._tell_some(backend_id, waiting)
        return taken

    def _tell_some(self, backend_id: int, waiting: Sequence[Spooled]) -> int:
        try:
            told = self._client.post(
                f"/provider/backends/{backend_id}/usage", {"records": [wire.dump(one.record) for one in waiting]}
            )
        except Refused as refusal:
            if refusal.status not in {400, 413, 422}:
                raise
            if len(waiting) == 1:
                logger.warning("a record cannot be told: %s", refusal)
                self._store.note_stuck(waiting[0].place, str(refusal))
                return 0
            half = len(waiting) // 2  # one that cannot be read must not stop the others
            return self._tell_some(backend_id, waiting[:half]) + self._tell_some(backend_id, waiting[half:])
        later = {(one["component"], one["record_id"]) for one in told["later"]}
        done = [one.place for one in waiting if (one.record.component[:80], one.record.id[:200]) not in later]
        self._store.drop(done)
        if told["set_aside"]:
            self._set_aside(told["set_aside"])
        return len(done)

    def last_usage_is_in(self, state: Mapping[str, Any]) -> bool:
        """Read and tell the last usage of a resource that was removed; whether all of it is in.

        raises   Unreachable; Away; Refused
        """
        self.measure(state["backend_id"])
        self.tell()
        return self._store.spooled_of(state["id"]) == 0


def _may_have_used(state: Mapping[str, Any]) -> bool:
    if not state["wish"]["desired"]["backend_id"] and not state["wish"]["matches"]:
        return False
    ended = state["terminated_at"]
    return ended is None or datetime.fromisoformat(ended) > now() - AFTERWARDS
