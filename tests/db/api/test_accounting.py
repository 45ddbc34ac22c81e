"""Quota and usage by REST."""

import json
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.test import Client

from bursar.accounting.models import Allocation
from bursar.metering.models import UsageReport
from bursar.structure.models import Person
from bursar.structure.selectors import workspace_of
from tests.factories.nation import Nation, make_nation
from tests.factories.structure import make_organization, make_project, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def made(standing: Any) -> Nation:
    return standing(make_nation)


@pytest.fixture
def nation(made: Nation) -> Nation:
    return deepcopy(made)


class Api:
    def __init__(self, person: Person) -> None:
        self.client = Client()
        self.client.force_login(person)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1{path}", query)

    def send(self, path: str, body: Any = None, method: str = "post") -> Any:
        return getattr(self.client, method)(
            f"/api/v1{path}", data=json.dumps(body, default=str), content_type="application/json"
        )


def test_wallets__of_an_owner__are_those_of_the_organization_and_its_projects(nation: Nation) -> None:
    page = Api(nation.owner).get("/wallets").json()

    assert page["total"] == 3
    physics = next(one for one in page["items"] if one["workspace"]["name"] == "Lattice physics")
    assert (physics["quota_ticks"], physics["used_ticks"], physics["available_ticks"], physics["locked"]) == (
        600 * 3600, 600 * 3600, 0, True,
    )  # fmt: skip
    assert physics["category"]["unit_name"] == "core-hours"
    assert physics["why"][0]["allocation_id"] == nation.to_physics.pk


def test_wallets__of_a_member__are_those_of_the_project(nation: Nation) -> None:
    page = Api(nation.member).get("/wallets").json()
    assert [one["workspace"]["name"] for one in page["items"]] == ["Lattice physics"]


def test_forecast__of_a_wallet__says_when_it_runs_out_and_what_is_forfeited(nation: Nation) -> None:
    def ask(scope: Any) -> Any:
        return Api(nation.owner).get(f"/wallets/{nation.wallet(scope).pk}/forecast").json()

    chemistry, physics = ask(nation.chemistry), ask(nation.physics)

    assert (physics["known"], physics["weeks"], physics["bound_ticks"]) == ("yes", 14, 0)
    assert physics["early"] == physics["late"] == physics["fan"][0]["at"]
    assert chemistry["category"]["unit_name"] == "core-hours"
    (forfeit,) = chemistry["forfeits"]
    assert forfeit["allocation_id"] == nation.to_chemistry.pk
    assert 0 <= forfeit["ticks"]["low"] <= forfeit["ticks"]["middle"] <= forfeit["ticks"]["high"] <= 500 * 3600
    assert chemistry["until"] == forfeit["end"]
    assert len(chemistry["fan"]) == 4


def test_wallet__of_somebody_else__is_not_there(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    for path in (
        f"/wallets/{wallet.pk}",
        f"/wallets/{wallet.pk}/tree",
        f"/wallets/{wallet.pk}/usage",
        f"/wallets/{wallet.pk}/forecast",
    ):
        assert Api(nation.stranger).get(path).status_code == 404
    assert Api(nation.stranger).get("/wallets").json()["total"] == 0
    assert Api(nation.stranger).get(f"/allocations/{nation.to_physics.pk}").status_code == 404


def test_wallets__more_of_them__cost_no_more_queries(nation: Nation, django_assert_max_num_queries: Any) -> None:
    api = Api(nation.owner)
    api.get("/wallets")
    with django_assert_max_num_queries(20) as few:
        api.get("/wallets", limit=1, offset=1)  # a locked one: its reasons are named by one more statement
    with django_assert_max_num_queries(len(few)):
        api.get("/wallets", limit=50)


def test_tree__of_the_university__is_depth_first(nation: Nation) -> None:
    rows = Api(nation.owner).get(f"/wallets/{nation.wallet(nation.university).pk}/tree").json()

    assert [(row["depth"], row["wallet"]["workspace"]["name"], row["given_ticks"]) for row in rows] == [
        (0, "University of Nordhavn", 1100 * 3600),
        (1, "Catalysis", 0),
        (1, "Lattice physics", 0),
    ]


def test_create_allocation__by_the_owner__is_given(nation: Nation) -> None:
    response = Api(nation.owner).send(
        "/allocations",
        {
            "category_id": nation.category.pk,
            "source_wallet_id": nation.wallet(nation.university).pk,
            "project_id": nation.physics.pk,
            "quota_ticks": 36_000,
            "end": nation.at + timedelta(days=10),
        },
    )

    assert response.status_code == 201, response.content
    assert (response.json()["quota_ticks"], response.json()["state"]) == (36_000, "open")
    assert Api(nation.member).get(f"/wallets/{nation.wallet(nation.physics).pk}").json()["available_ticks"] == 36_000


@pytest.mark.parametrize(
    ("who", "change", "status", "code"),
    [
        ("investigator", {}, 404, "not_found"),  # does not see the university's wallet
        ("owner", {"source_wallet_id": None}, 403, "not_allowed"),
        ("owner", {"quota_ticks": -1}, 422, "negative_quota"),
        ("owner", {"end": "2020-01-01T00:00:00Z"}, 422, "end_not_after_start"),
        ("owner", {"project_id": None}, 422, "recipient_unclear"),
        ("owner", {"project_id": 999_999}, 404, "not_found"),
        ("owner", {"category_id": 999_999}, 404, "not_found"),
    ],
)
def test_create_allocation__refused__nothing_changes(
    nation: Nation, who: str, change: dict[str, Any], status: int, code: str
) -> None:
    body = {
        "category_id": nation.category.pk,
        "source_wallet_id": nation.wallet(nation.university).pk,
        "project_id": nation.physics.pk,
        "quota_ticks": 36_000,
        "end": nation.at + timedelta(days=10),
        **change,
    }

    response = Api(getattr(nation, who)).send("/allocations", body)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response["Content-Type"] == "application/problem+json"
    assert Allocation.objects.count() == 3


def test_create_allocation__for_whom_the_page_would_not_offer__is_not_found(nation: Nation) -> None:
    elsewhere = make_workspace(make_project(organization=make_organization("University of Sydhavn")))
    of_a_person = make_workspace(nation.stranger)
    body = {"category_id": nation.category.pk, "quota_ticks": 0, "end": nation.at + timedelta(days=10)}
    for workspace in (elsewhere, of_a_person):
        for who, source in (("owner", nation.wallet(nation.university).pk), ("seller", None)):
            asked = {**body, "source_wallet_id": source, "workspace_id": workspace.pk}
            response = Api(getattr(nation, who)).send("/allocations", asked)
            assert (response.status_code, response.json()["code"]) == (404, "not_found"), who
    assert Allocation.objects.count() == 3


def test_change_allocation__below_what_is_drawn__is_refused_in_units(nation: Nation) -> None:
    response = Api(nation.owner).send(f"/allocations/{nation.to_physics.pk}", {"quota_ticks": 1}, "patch")

    assert (response.status_code, response.json()["code"]) == (409, "quota_below_drawn")
    assert "600 core-hours" in response.json()["detail"]
    nation.to_physics.refresh_from_db()
    assert nation.to_physics.quota_ticks == 600 * 3600


def test_change_allocation__as_the_source__frees_the_wallet(nation: Nation) -> None:
    response = Api(nation.owner).send(f"/allocations/{nation.to_physics.pk}", {"quota_ticks": 610 * 3600}, "patch")

    assert (response.status_code, response.json()["quota_ticks"]) == (200, 610 * 3600)
    assert Api(nation.member).get(f"/wallets/{nation.wallet(nation.physics).pk}").json()["locked"] is False


def test_change_allocation__by_its_holder__is_refused(nation: Nation) -> None:
    response = Api(nation.investigator).send(f"/allocations/{nation.to_physics.pk}", {"quota_ticks": 10**9}, "patch")
    assert (response.status_code, response.json()["code"]) == (403, "not_allowed")


def test_revoke_allocation__by_the_owner__closes_it(nation: Nation) -> None:
    response = Api(nation.owner).send(f"/allocations/{nation.to_chemistry.pk}/revoke")
    assert (response.status_code, response.json()["state"]) == (200, "closed")


def test_transfer_quota__what_is_unused__moves(nation: Nation) -> None:
    body = {"to_allocation_id": nation.to_physics.pk, "amount_ticks": 100 * 3600}
    response = Api(nation.owner).send(f"/allocations/{nation.to_chemistry.pk}/transfer", body)
    assert [one["quota_ticks"] for one in response.json()] == [400 * 3600, 700 * 3600]


def test_usage__of_a_wallet__by_day_and_by_person_for_who_may(nation: Nation) -> None:
    path = f"/wallets/{nation.wallet(nation.physics).pk}/usage"
    since = (nation.at - timedelta(days=100)).isoformat()

    of_leader = Api(nation.investigator).get(path, since=since).json()
    of_member = Api(nation.member).get(path, since=since).json()

    assert (of_leader["used_ticks"], len(of_leader["by_day"])) == (600 * 3600, 60)
    assert {one["person_id"]: one["ticks"] for one in of_leader["by_person"]} == {
        nation.investigator.pk: 400 * 3600,
        nation.member.pk: 200 * 3600,
    }
    assert of_member["by_person"] is None


# ------------------------------------------------------------------------------------------------ reports
def report(nation: Nation, **change: Any) -> dict[str, Any]:
    return {
        "report_id": "r-1",
        "category_id": nation.category.pk,
        "workspace_id": workspace_of(nation.chemistry).pk,
        "amount_ticks": 3600,
        "period_start": nation.at - timedelta(hours=2),
        "period_end": nation.at - timedelta(hours=1),
        **change,
    }


def test_report_usage__by_the_provider__is_booked_once(nation: Nation) -> None:
    api = Api(nation.seller)

    first = api.send("/usage/reports", {"reports": [report(nation)]})
    second = api.send("/usage/reports", {"reports": [report(nation)]})

    assert (first.status_code, first.json()["posted"], first.json()["duplicates"]) == (200, 1, [])
    assert (second.json()["posted"], second.json()["duplicates"]) == (0, ["r-1"])
    balance = second.json()["balances"][0]
    assert (balance["used_ticks"], balance["locked"]) == (5400 + 3600, False)


def test_report_usage__beyond_the_quota__is_taken_and_says_why(nation: Nation) -> None:
    body = {"reports": [report(nation, workspace_id=workspace_of(nation.physics).pk)]}
    balance = Api(nation.seller).send("/usage/reports", body).json()["balances"][0]
    assert (balance["uncovered_ticks"], balance["locked"], balance["over"]) == (3600, True, True)
    assert balance["why"][0]["allocation_id"] == nation.to_physics.pk


@pytest.mark.parametrize(
    ("reports", "status", "code", "location"),
    [
        ([{"amount_ticks": "many"}], 422, "reports_at_fault", "body.reports.0.amount_ticks"),
        ([{}, {"report_id": "r-2", "amount_ticks": 1.5}], 422, "reports_at_fault", "body.reports.1.amount_ticks"),
        ([{"category_id": None}], 422, "reports_at_fault", "body.reports.0"),
        ([{}, {"report_id": "r-2", "workspace_id": 999_999}], 422, "reports_at_fault", "body.reports.1"),
        ([{}, {"report_id": "r-2", "period_end": "2099-01-01T00:00:00Z"}], 422, "reports_at_fault", "body.reports.1"),
        ([{"report_id": "physics-1"}], 409, "report_conflict", "body.reports.0"),
    ],
)
def test_report_usage__at_fault__is_located_and_nothing_is_booked(
    nation: Nation, reports: list[dict[str, Any]], status: int, code: str, location: str
) -> None:
    before = UsageReport.objects.count()

    response = Api(nation.seller).send("/usage/reports", {"reports": [report(nation, **one) for one in reports]})

    assert (response.status_code, response.json()["code"]) == (status, code), response.content
    assert response.json()["errors"][0]["location"] == location
    assert UsageReport.objects.count() == before


def test_report_usage__on_lines__is_the_same_as_in_one_object(nation: Nation) -> None:
    client = Client()
    client.force_login(nation.seller)
    encode = DjangoJSONEncoder().encode
    lines = [encode(report(nation, report_id=f"line-{n}")) for n in range(3)]

    first = client.post("/api/v1/usage/reports", "\n".join(lines), content_type="application/x-ndjson")
    lines[1] = '{"report_id": "broken",'
    lines[2] = encode(report(nation, report_id="later", period_end="2099-01-01T00:00:00Z"))
    second = client.post("/api/v1/usage/reports", "\n".join(lines) + "\n", content_type="application/x-ndjson")

    assert (first.status_code, first.json()["posted"]) == (200, 3)
    assert (second.status_code, second.json()["code"]) == (422, "reports_at_fault")
    places = [(one["location"], one["code"]) for one in second.json()["errors"]]
    assert places == [("body.reports.1", "invalid"), ("body.reports.2", "in_the_future")]
    assert UsageReport.objects.filter(report_id__in=["broken", "later"]).count() == 0


def test_report_usage__too_many_or_too_much__is_refused_before_it_is_read(nation: Nation) -> None:
    one = report(nation)
    many = Api(nation.seller).send("/usage/reports", {"reports": [one] * 10_001})
    client = Client()
    client.force_login(nation.seller)
    much = client.post("/api/v1/usage/reports", b" " * (21 * 1024 * 1024), content_type="application/json")
    assert (many.status_code, many.json()["code"]) == (422, "too_many_reports")
    assert (much.status_code, much.json()["code"]) == (413, "too_large")


def test_report_usage__by_a_customer__is_refused(nation: Nation) -> None:
    response = Api(nation.owner).send("/usage/reports", {"reports": [report(nation)]})
    assert (response.status_code, response.json()["code"]) == (403, "not_allowed")


def test_report_usage__malformed__is_400(nation: Nation) -> None:
    client = Client()
    client.force_login(nation.seller)
    response = client.post("/api/v1/usage/reports", data="{", content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "malformed")


@pytest.mark.slow
def test_report_usage__ten_thousand_at_once__pass_the_bound_that_is_made_for_forms(nation: Nation) -> None:
    one = report(nation, amount_ticks=1, job="j" * 100)
    reports = [{**one, "report_id": f"bulk-{n}"} for n in range(10_000)]
    response = Api(nation.seller).send("/usage/reports", {"reports": reports})
    assert (response.status_code, response.json()["posted"]) == (200, 10_000)


DEEP = b"[" * 50_000 + b"]" * 50_000


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b'{"reports":' + DEEP + b"}", "application/json", 400, "malformed"),
        (DEEP, "application/x-ndjson", 422, "reports_at_fault"),
        (DEEP, "application/json", 422, "invalid_request"),
        (b'{"reports":[{"report_id":"\xff\xfe"}]}', "application/json", 422, "reports_at_fault"),
        (b"\xff\xfe", "application/json", 400, "malformed"),
        (b'{"reports":[]}', "text/plain", 415, "unsupported_content"),
        (b'{"reports":[]}', "multipart/form-data", 415, "unsupported_content"),
    ],
)
def test_report_usage__cannot_be_read__is_a_problem_and_no_fault_of_ours(
    nation: Nation, body: bytes, kind: str, status: int, code: str
) -> None:
    client = Api(nation.seller).client
    response = client.post("/api/v1/usage/reports", body, content_type=kind)
    assert (response.status_code, response.json()["code"]) == (status, code), response.content[:300]


def test_report_usage__compressed__is_told_that_it_is_not_read(nation: Nation) -> None:
    client = Api(nation.seller).client
    body = json.dumps({"reports": []})
    response = client.post(
        "/api/v1/usage/reports", body, content_type="application/json", headers={"Content-Encoding": "gzip"}
    )
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_content")


def test_report_usage__one_field_is_wrong__is_named_by_its_id_too(nation: Nation) -> None:
    response = Api(nation.seller).send(
        "/usage/reports", {"reports": [report(nation), {"report_id": "bad", "amount": 1}]}
    )
    (error,) = response.json()["errors"]
    assert (error["location"].split(".")[2], error["report_id"], error["code"]) == ("1", "bad", "invalid")


def test_report_usage__long_before_anything__is_named(nation: Nation) -> None:
    one = report(nation, period_start="0001-01-01T00:00:00+14:00")
    response = Api(nation.seller).send("/usage/reports", {"reports": [one]})
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "long_ago")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"end": "9999-12-31T23:59:59-10:00"}, "instant_out_of_range"),
        ({"start": "0001-01-01T00:00:00+10:00"}, "instant_out_of_range"),
        ({"note": "a\0b"}, "text_not_allowed"),
        ({"quota_ticks": 2**63}, "invalid_request"),
    ],
)
def test_create_allocation__of_what_cannot_be_kept__is_refused(
    nation: Nation, change: dict[str, Any], code: str
) -> None:
    body = {
        "category_id": nation.category.pk,
        "organization_id": nation.university.pk,
        "quota_ticks": 36_000,
        "end": nation.at + timedelta(days=10),
        **change,
    }
    response = Api(nation.seller).send("/allocations", body)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert Allocation.objects.count() == 3


def test_request__a_value_that_nothing_looked_at__is_the_askers_fault(nation: Nation) -> None:
    path = f"/wallets/{nation.wallet(nation.university).pk}/usage?since=0001-01-01T00:00:00%2B14:00"
    response = Api(nation.owner).get(path)
    assert (response.status_code, response.json()["code"]) == (422, "value_cannot_be_kept")
