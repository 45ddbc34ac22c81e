"""A pattern of an order form, as browsers read it."""

import pytest

from bursar.web.order_form import for_browsers


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("[a-z]([a-z0-9-]{0,61}[a-z0-9])?", r"[a-z]([a-z0-9\-]{0,61}[a-z0-9])?"),
        ("[-a-z]+", r"[\-a-z]+"),
        (r"[a-z\-]+", r"[a-z\-]+"),
        ("[(a|b)/]{2}", r"[\(a\|b\)\/]{2}"),
        (r"\[a-\]", r"\[a-\]"),
        ("(a|b)-[0-9]{3}", "(a|b)-[0-9]{3}"),
    ],
)
def test_for_browsers__only_inside_brackets__what_means_itself_is_escaped(pattern: str, told: str) -> None:
    assert for_browsers(pattern) == told
