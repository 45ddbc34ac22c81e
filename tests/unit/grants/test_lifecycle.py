"""The two tables over their whole product: what is not listed here is not open."""

from itertools import product

from bursar.grants.lifecycle import (
    ApplicationAction,
    ApplicationState,
    PartAction,
    PartState,
    application_after,
    part_after,
)

APPLICATION = {
    "draft": {"save": "draft", "submit": "submitted", "withdraw": "withdrawn"},
    "submitted": {
        "revise": "submitted",
        "agree": "submitted",
        "judge": "submitted",
        "approve": "approved",
        "reject": "rejected",
        "withdraw": "withdrawn",
    },
    "approved": {},
    "rejected": {},
    "withdrawn": {},
}
PART = {
    "pending": {"reset": "pending", "approve": "approved", "reject": "rejected", "leave": "left"},
    "approved": {"reset": "pending", "reject": "rejected", "leave": "left"},
    "rejected": {},
    "left": {"ask": "pending"},
}


def test_application__each_state_and_action__leads_where_the_table_says() -> None:
    found = {(s, a): application_after(s, a) for s, a in product(ApplicationState, ApplicationAction)}
    assert found == {(s, a): APPLICATION[s].get(a) for s, a in product(ApplicationState, ApplicationAction)}


def test_part__each_state_and_action__leads_where_the_table_says() -> None:
    found = {(s, a): part_after(s, a) for s, a in product(PartState, PartAction)}
    assert found == {(s, a): PART[s].get(a) for s, a in product(PartState, PartAction)}
