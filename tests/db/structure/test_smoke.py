import pytest
from tests.factories.structure import *
pytestmark = pytest.mark.django_db
def test_all(at):
    op = make_operator("operator@x.org")
    pi = make_person()
    p = make_project(pi=pi)
    sub = make_project(parent=p)
    assert sub.path == [p.pk, sub.pk]
    make_workspace(pi); make_workspace(p); make_workspace(p.organization)
    from bursar.structure import services as s
    from bursar.structure.roles import Role, Permission, may
    sent = s.invite(email="a@b.org", role=Role.PROJECT_MEMBER, scope=p, by=pi, at=at)
    who = make_person("a@b.org")
    m = s.accept_invitation(token=sent.token, by=who, at=at)
    assert m.role == "project_member"
    assert may(who, Permission.PLACE_ORDER, p, at)
    t = s.create_token(person=pi, name="x", scopes=["read"], days=3, by=pi, at=at)
    row = s.authenticate_token(token=t.token, at=at)
    assert not may(row.person, Permission.EDIT_PROJECT, p, at)
    assert may(row.person, Permission.VIEW_PROJECT, p, at)
    s.hand_over_project(project=p, to=who, by=pi, at=at)
