"""What a request is told."""

from dataclasses import dataclass

from bursar.accounting.selectors import Balance


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request. `duplicates` are the ids of reports that were booked before and change nothing.

    balances   one for each wallet touched, duplicates included, as it stands now
    """

    posted: int
    duplicates: tuple[str, ...]
    balances: tuple[Balance, ...]
