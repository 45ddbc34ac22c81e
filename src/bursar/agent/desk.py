"""The plugins' desk at a provider's site: what a plugin answered is told to Bursar, which answers with what stands now."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bursar.agent.client import Client
from bursar.agent.store import Store
from bursar.plugins import wire
from bursar.plugins.contract import ComponentQuota, Done, Group, NeedsAction, Outcome, Plugin, Refused
from bursar.plugins.steps import GroupWork, QuotaOffer, Step, Wish


class Desk:
    """For one resource. Raises what the client raises: a step whose answer did not arrive is taken again later."""

    def __init__(
        self, client: Client, store: Store, state: Mapping[str, Any], last_usage: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        self._client, self._store, self._last_usage = client, store, last_usage
        self.state = state

    def wish(self) -> Wish:
        return wire.load(Wish, self.state["wish"])

    def _tell(self, step: str, **facts: Any) -> bool:
        """Whether the wish is still the one that was answered to."""
        told = self._client.post(
            f"/provider/resources/{self.state['id']}/steps",
            {"generation": self.state["generation"], "step": {"step": step, **facts}},
        )
        self.state = told["state"]
        self._store.keep_state("resource", self.state["id"], self.state)
        return bool(told["still"])

    def note_made(self, wish: Wish, made: Done) -> Wish | None:
        told = wire.dump(made)
        still = self._tell("made", backend_id=made.backend_id, state=told["state"], access=told["access"])
        return self.wish() if still else None

    def note_removed(self, wish: Wish) -> Wish | None:
        return self.wish() if self._tell("removed") else None

    def keep_accounts(self, plugin: Plugin, wish: Wish) -> Step:
        """Ask for those that are missing. They come by themselves, and the resource is looked at again when one is there."""
        if any(not member.username and not member.blocked for member in wish.desired.members):
            self._client.post(f"/provider/resources/{self.state['id']}/want-accounts")
        return Done(), wish

    def group_work(self, wish: Wish) -> GroupWork | Refused | NeedsAction | None:
        told = self._client.post(f"/provider/resources/{self.state['id']}/group-work")
        if told["group"] is not None:
            return GroupWork(wire.load(Group, told["group"]), bool(told["is_to_go"]))
        answer = None if told["answer"] is None else wire.load_answer(told["answer"])
        return answer if isinstance(answer, Refused | NeedsAction) else None

    def note_group(self, wish: Wish, work: GroupWork) -> Wish | None:
        self._tell("group", group=wire.dump(work.group), is_to_go=work.is_to_go)
        return self.wish()

    def note_members(self, wish: Wish, usernames: Sequence[str]) -> Wish | None:
        self._tell("members", usernames=list(usernames))
        return self.wish()

    def offer_quota(self, wish: Wish) -> QuotaOffer | None:
        told = self._client.post(f"/provider/resources/{self.state['id']}/quota-offer")
        shares = wire.load(list[ComponentQuota], told["shares"])
        return QuotaOffer(int(told["number"]), tuple(shares), bool(told["is_told"]))

    def note_quota(self, wish: Wish, offer: QuotaOffer) -> Wish | None:
        self._tell("quota", number=offer.number, shares=wire.dump(list(offer.shares), list[ComponentQuota]))
        return self.wish()

    def last_usage_is_in(self, wish: Wish) -> bool:
        return self._last_usage(self.state)

    # -------------------------------------------------------------------------------------------- how it ended for now
    def note_answer(self, wish: Wish, answer: Outcome) -> bool:
        return self._tell("answer", paused=wish.desired.paused, answer=wire.dump_answer(answer))

    def note_unreachable(self, message: str) -> bool:
        return self._tell("unreachable", message=message[:20_000])

    def note_in_step(self, message: str, *, unreachable: bool = False) -> None:
        self._tell("in_step", message=message[:20_000], unreachable=unreachable)

    def say(self, text: str, level: str = "info") -> None:
        """A message that stands on the resource's page."""
        self._client.post(f"/provider/resources/{self.state['id']}/messages", {"text": text[:2000], "level": level})
