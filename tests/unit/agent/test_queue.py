"""What is due when: the earlier counts, one in hand at a time, nothing that comes meanwhile is lost."""

import threading
import time

from bursar.agent.work import Due, Queue


def now(pk: int, **more: object) -> Due:
    return Due(time.monotonic(), pk, **more)  # type: ignore[arg-type]


def test_take__nothing_due__is_nothing() -> None:
    queue = Queue()
    queue.put(Due(time.monotonic() + 60, 1))
    assert queue.take(wait=False) is None
    assert (len(queue), queue.holds(("resource", 1))) == (1, True)


def test_put__sooner__takes_the_place_of_later_and_keeps_what_is_to_be_mended() -> None:
    queue = Queue()
    queue.put(Due(time.monotonic() + 60, 1, attempts=3, mend=True))
    queue.put(now(1))
    due = queue.take(wait=False)
    assert due is not None
    assert (due.pk, due.mend, len(queue)) == (1, True, 1)
    queue.done(due.key)
    assert (queue.take(wait=False), len(queue)) == (None, 0)


def test_put__while_in_hand__comes_after() -> None:
    queue = Queue()
    queue.put(now(1))
    due = queue.take(wait=False)
    assert due is not None
    queue.put(now(1))
    assert queue.take(wait=False) is None
    queue.done(due.key)
    assert queue.take(wait=False) is not None


def test_take__an_account_and_a_resource_of_one_number__are_two() -> None:
    queue = Queue()
    queue.put(now(1))
    queue.put(now(1, kind="account"))
    kinds = {queue.take(wait=False).kind for _ in range(2)}  # type: ignore[union-attr]
    assert kinds == {"resource", "account"}


def test_take__waits_for_the_next_and_for_the_end() -> None:
    queue, taken = Queue(), []
    worker = threading.Thread(target=lambda: [taken.append(queue.take()), taken.append(queue.take())])
    worker.start()
    queue.put(now(7))
    deadline = time.monotonic() + 5
    while not taken and time.monotonic() < deadline:
        time.sleep(0.01)
    queue.close()
    worker.join(5)
    assert [None if due is None else due.pk for due in taken] == [7, None]
