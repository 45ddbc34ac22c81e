"""Nothing that can be sent to the API breaks it: whatever Schemathesis makes of the schema, no answer is a 5xx of ours.

In CI a few examples of each operation, always the same; with BURSAR_SOAK=1 many, and others each time.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bursar.api.api import api
from bursar.structure import services as structure
from bursar.structure.roles import TokenScope
from tests.db.web.everything import AT, SOAK, World, standing_world
from tests.db.web.who_may import OPERATIONS, PARAMETERS

pytestmark = [pytest.mark.django_db, pytest.mark.slow, *([pytest.mark.soak] if SOAK else [])]

EXAMPLES: Final = 150 if SOAK else 3
# What the schema cannot know: ids that exist, so that more than "not found" is tried.
NAMES: Final[Mapping[str, str]] = {
    **PARAMETERS,
    "parent_id": "project",
    "owner_id": "bystander",
    "to_person_id": "bystander",
    "principal_investigator_id": "bystander",
    "source_wallet_id": "university_wallet",
    "to_allocation_id": "other_allocation",
    "workspace_id": "workspace",
}


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with standing_world(django_db_blocker) as made:
        made.workspace = made.wallet.workspace
        yield made


@pytest.fixture(scope="module")
def token(world: World) -> str:
    """An operator's, with every scope."""
    person = world.people["platform_operator@platform"]
    made = structure.create_token(person=person, name="fuzz", scopes=list(TokenScope), days=1, by=person, at=AT)
    return made.token


@pytest.fixture(scope="module")
def told() -> Mapping[tuple[str, str], Any]:
    """What the schema tells: method and path -> operation."""
    import schemathesis  # it and the schema take seconds, which only those wait for who run this

    schema = schemathesis.openapi.from_dict(api.get_openapi_schema())
    operations = [one.ok() for one in schema.get_all_operations()]
    return {(one.method.upper(), one.path.removeprefix("/api/v1")): one for one in operations}


def with_ids(value: Any, w: World, *, name: str = "") -> Any:
    """The same with ids of the world where ids are asked for."""
    if isinstance(value, dict):
        return {key: with_ids(each, w, name=str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [with_ids(each, w, name=name) for each in value]
    return w.parameter(NAMES[name]) if name in NAMES and isinstance(value, int) else value


def sent(case: Any, w: World, token: str, *, real: bool) -> tuple[int, str]:
    """The status of the answer and what was asked, undone afterwards."""
    from schemathesis.core import NotSet

    parameters = dict(case.path_parameters or {})
    if real:
        parameters = {name: w.parameter(NAMES[name]) if name in NAMES else v for name, v in parameters.items()}
    path = case.operation.path
    for name, value in parameters.items():
        path = path.replace("{" + name + "}", quote(str(value), safe=""))
    query = urlencode(dict(case.query or {}), doseq=True, errors="replace")
    body: Any = b""
    if isinstance(case.body, bytes):
        body = case.body
    elif not isinstance(case.body, NotSet):
        body = json.dumps(with_ids(case.body, w) if real else case.body)
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {token}"})
    client.handler = HANDLER
    with transaction.atomic():
        response = client.generic(
            case.operation.method.upper(), f"{path}?{query}", body, content_type="application/json"
        )
        transaction.set_rollback(True)
    shown = body if isinstance(body, str) else repr(body)
    return response.status_code, f"{case.operation.method.upper()} {path}?{query} {shown[:2000]}"


HANDLER = Client(raise_request_exception=False).handler


def test_operations__described__are_all_tried(told: Mapping[tuple[str, str], Any]) -> None:
    assert set(told) == set(OPERATIONS)


@pytest.mark.parametrize("operation", sorted(OPERATIONS), ids=" ".join)
def test_fuzz__anything_the_schema_allows__is_answered_without_breaking(
    world: World,
    token: str,
    told: Mapping[tuple[str, str], Any],
    operation: tuple[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    @given(case=told[operation].as_strategy(), real=st.booleans())
    @settings(
        max_examples=EXAMPLES,
        derandomize=not SOAK,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if SOAK else [])],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any, real: bool) -> None:
        caplog.clear()
        status, asked = sent(case, world, token, real=real)
        assert status < 500 or status == 503, f"{status} {asked}\n{caplog.text[-3000:]}"

    logging.disable(logging.WARNING)
    run()
