"""From a wish to what a backend holds: the steps, in their order, each of which may be repeated.

The same steps for a backend beside the server and for one behind a provider's firewall. Where the answers are kept, and who
looks whether the wish is still the same, is the desk's concern: the server's writes rows, the agent's asks the server.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from bursar.kernel.errors import DomainError
from bursar.plugins.contract import (
    BackendUnreachable,
    Busy,
    ComponentQuota,
    DesiredResource,
    Done,
    EnforcesQuota,
    Group,
    ManagesGroups,
    ManagesMembers,
    NeedsAction,
    Outcome,
    Pauses,
    Plugin,
    Presence,
    Provisions,
    Refused,
    can,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a resource is to be, and what of it is known to be so.

    gone             it is to be at the backend no longer
    matches          the backend was found to be as wished
    observed_paused  whether the backend holds it paused
    removed          the backend holds it no longer; its last usage may still be out
    members          the user names that the backend was last told; None = none yet
    """

    desired: DesiredResource
    gone: bool = False
    matches: bool = False
    observed_paused: bool = False
    removed: bool = False
    members: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class QuotaOffer:
    """What a resource may draw, kept for it from now on; it counts as told until another is confirmed.

    number    which offer to this resource it is: only the last one can be confirmed
    is_told   the backend was told the same before
    """

    number: int
    shares: tuple[ComponentQuota, ...]
    is_told: bool


@dataclass(frozen=True, slots=True)
class GroupWork:
    """A project's group to be made as it is, or (`is_to_go`) to be taken away with the project's last resource."""

    group: Group
    is_to_go: bool = False


class Desk(Protocol):
    """Where answers are kept. Each verb first looks whether the wish is still the same; None = a newer one came."""

    def wish(self) -> Wish:
        """As it stands now."""
        ...

    def note_made(self, wish: Wish, made: Done) -> Wish | None: ...

    def note_removed(self, wish: Wish) -> Wish | None: ...

    def keep_accounts(self, plugin: Plugin, wish: Wish) -> "Step":
        """Have the users of the resource have their accounts, as far as that is this side's to do with the resource."""
        ...

    def group_work(self, wish: Wish) -> "GroupWork | Refused | NeedsAction | None":
        """What is to be done about the UNIX group of the resource's project; None: nothing."""
        ...

    def note_group(self, wish: Wish, work: "GroupWork") -> Wish | None: ...

    def note_members(self, wish: Wish, usernames: Sequence[str]) -> Wish | None: ...

    def offer_quota(self, wish: Wish) -> QuotaOffer | None: ...

    def note_quota(self, wish: Wish, offer: QuotaOffer) -> Wish | None: ...

    def last_usage_is_in(self, wish: Wish) -> bool: ...


class Unreachable(Exception):
    """The backend cannot be asked now, whatever the cause; the message is for a person at the provider."""


def asked(work: Callable[[], T]) -> T:
    """Call a stranger's code.

    raises   Unreachable: it said so, or it broke; what broke goes to the log and not to the page
    """
    try:
        return work()
    except BackendUnreachable as error:
        raise Unreachable(str(error)) from error
    except DomainError as error:  # the registry: no such plugin, broken, secrets unreadable
        raise Unreachable(str(error)) from error
    except Exception as error:
        logger.exception("a plugin broke")
        raise Unreachable(f"The plugin broke: {type(error).__name__}. The log says where.") from error


Step = tuple[Outcome, Wish] | None
"""A step's answer and the wish as it stands after it; None: a newer wish came in between."""


def bring(plugin: Plugin, wish: Wish, desk: Desk) -> Outcome | None:
    """Make the backend match the wish, from the first step that is not known to be done; None when a newer wish came.

    raises   Unreachable
    """
    return _remove(plugin, wish, desk) if wish.gone else _ensure(plugin, wish, desk)


def _ensure(plugin: Plugin, wish: Wish, desk: Desk) -> Outcome | None:
    """Quota and members are set before it is called ready: nobody may use what nothing limits."""
    if can(plugin, Provisions):
        desired = wish.desired
        answer = asked(lambda: plugin.ensure(desired))
        if not isinstance(answer, Done):
            return answer
        made = desk.note_made(wish, answer)
        if made is None:
            return None
        wish = made
    kept = keep(plugin, wish, desk)
    if kept is None:
        return None
    answer, wish = kept
    if not isinstance(answer, Done) or wish.desired.paused == wish.observed_paused:
        return answer
    if not can(plugin, Pauses):
        return Refused("The backend cannot pause.")
    return asked(partial(plugin.pause if wish.desired.paused else plugin.resume, wish.desired))


def _remove(plugin: Plugin, wish: Wish, desk: Desk) -> Outcome | None:
    """Remove it, then read its last usage; only then it is gone."""
    if not wish.removed:
        if can(plugin, Provisions):
            desired = wish.desired
            answer = asked(lambda: plugin.remove(desired))
            if not isinstance(answer, Done):
                return answer
        step = _keep_group(plugin, wish, desk)
        if step is None:
            return None
        answer, wish = step
        if not isinstance(answer, Done):
            return answer
        removed = desk.note_removed(wish)
        if removed is None:
            return None
        wish = removed
    if not desk.last_usage_is_in(wish):
        return Busy(3, "Its last usage is being read.")
    return Done()


def keep(plugin: Plugin, wish: Wish, desk: Desk, *, force: bool = True) -> Step:
    """Accounts, the project's group, members and quota, in this order; the last two only where they changed, or `force`.

    raises   Unreachable
    """
    changed: list[str] = []
    for one in (_keep_accounts, _keep_group, partial(_keep_members, force=force), partial(_keep_quota, force=force)):
        step = one(plugin, wish, desk)
        if step is None or not isinstance(step[0], Done):
            return step
        changed += step[0].changed
        wish = step[1]
    return Done(changed=tuple(changed)), wish


Mended = tuple[Outcome, tuple[str, ...]] | None
"""How a look at everything ended, and in words what had to be put back; None: a newer wish came in between."""


def mend(plugin: Plugin, wish: Wish, desk: Desk) -> Mended:
    """Compare a resource that matches with what the backend really holds, and put back what somebody changed there.

    raises   Unreachable
    """
    words: list[str] = []
    if can(plugin, Provisions):
        desired = wish.desired
        seen = asked(lambda: plugin.observe(desired))
        answer = asked(lambda: plugin.ensure(desired))
        if not isinstance(answer, Done):
            return answer, ()
        if seen.presence in {Presence.ABSENT, Presence.FAILED}:
            words.append(f"It was {seen.presence.value} at the backend and was made again. {seen.message}".strip())
        words += answer.changed
        noted = desk.note_made(wish, answer) or desk.wish()
        if noted.desired.generation != desired.generation:
            return None
        wish = noted
    step = keep(plugin, wish, desk)
    if step is None:
        return None
    answer, wish = step
    if isinstance(answer, Done):
        words += answer.changed
        if can(plugin, Pauses):
            answer = asked(partial(plugin.pause if wish.desired.paused else plugin.resume, wish.desired))
            words += answer.changed if isinstance(answer, Done) else ()
    return answer, tuple(words)


def _keep_accounts(plugin: Plugin, wish: Wish, desk: Desk) -> Step:
    return desk.keep_accounts(plugin, wish)


def _keep_group(plugin: Plugin, wish: Wish, desk: Desk) -> Step:
    """The group holds exactly the usable accounts of the project's people, and goes with its last resource."""
    if not can(plugin, ManagesGroups) or not wish.desired.projects:
        return Done(), wish
    work = desk.group_work(wish)
    if work is None:
        return Done(), wish
    if not isinstance(work, GroupWork):
        return work, wish
    answer = asked(lambda: (plugin.remove_group if work.is_to_go else plugin.ensure_group)(work.group))
    if not isinstance(answer, Done):
        return answer, wish
    noted = desk.note_group(wish, work)
    return None if noted is None else (answer, noted)


def _keep_members(plugin: Plugin, wish: Wish, desk: Desk, *, force: bool) -> Step:
    """Tell the backend exactly who may use the resource."""
    if not can(plugin, ManagesMembers):
        return Done(), wish
    names = sorted(member.username for member in wish.desired.members if member.username)
    if not force and wish.members is not None and list(wish.members) == names:
        return Done(), wish
    desired = wish.desired
    answer = asked(lambda: plugin.set_members(desired))
    if not isinstance(answer, Done):
        return answer, wish
    noted = desk.note_members(wish, names)
    return None if noted is None else (answer, noted)


def _keep_quota(plugin: Plugin, wish: Wish, desk: Desk, *, force: bool) -> Step:
    """Tell the backend what the resource may still draw."""
    if not can(plugin, EnforcesQuota):
        return Done(), wish
    offer = desk.offer_quota(wish)
    if offer is None:
        return None
    if offer.is_told and not force:
        return Done(), wish
    desired = wish.desired
    answer = asked(lambda: plugin.enforce_quota(desired, offer.shares))
    if not isinstance(answer, Done):
        return answer, wish
    noted = desk.note_quota(wish, offer)
    return None if noted is None else (answer, noted)
