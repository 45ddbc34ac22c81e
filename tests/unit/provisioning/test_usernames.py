"""Names that people get at backends: a table, and laws for whatever a person may be called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.provisioning.usernames import LENGTH_MAX, RESERVED, USERNAME, anonymous, group_base, initial_last, numbered


@pytest.mark.parametrize(
    ("full_name", "name"),
    [
        ("Ada Lovelace", "alovelace"),
        ("Ada King, Countess of Lovelace", "alovelace"),
        ("Jean-Luc Picard", "jpicard"),
        ("Siobhán O’Brien", "sobrien"),
        ("Åse Østergård", "aostergard"),
        ("Jürgen Groß", "jgross"),
        ("Łukasz Żółć", "lzolc"),
        ("Þórður Ðé", "tde"),
        ("Øyvind Ærø", "oaero"),
        ("İbrahim Işık", "iisik"),
        ("Мария Склодовская", "msklodovskaia"),
        ("Ἀλέξανδρος Παπαδόπουλος", "apapadopoylos"),
        ("Madonna", "madonna"),
        ("李 明", "user"),
        ("", "user"),
        ("4you 2day", "day"),
        ("ﬁona ＬＡＲＧＥ", "flarge"),
        ("A " + "b" * 60, "a" + "b" * 30),
        ("; rm -rf ~", "rrf"),
        ("../../etc/passwd", "etcpasswd"),
    ],
)
def test_initial_last__of_a_name__is_as_in_the_table(full_name: str, name: str) -> None:
    assert initial_last(full_name) == name


@given(st.text(max_size=300))
def test_initial_last__whatever_somebody_is_called__is_a_user_name(full_name: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]{0,30}", initial_last(full_name))


def test_numbered__taken__counts_from_two() -> None:
    assert numbered("alovelace", taken=set()) == "alovelace"
    assert numbered("alovelace", taken={"alovelace"}) == "alovelace2"
    assert numbered("alovelace", taken={"alovelace", "alovelace2", "alovelace4"}) == "alovelace3"


def test_numbered__at_full_length__cuts_the_letters_and_not_the_number() -> None:
    base = "a" * LENGTH_MAX
    assert numbered(base, taken={base}) == "a" * 30 + "2"
    taken = {base, *("a" * 30 + str(n) for n in range(2, 10))}
    assert numbered(base, taken=taken) == "a" * 29 + "10"


@pytest.mark.parametrize("name", ["root", "slurm", "daemon", "www-data"])
def test_numbered__a_name_that_systems_have__is_nobodys(name: str) -> None:
    assert name in RESERVED
    assert numbered(name, taken=set()) == f"{name}2"


def test_anonymous__numbers__keep_their_width() -> None:
    assert [anonymous(n) for n in (17, 999_999, 1_000_000)] == ["u000017", "u999999", "u1000000"]


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("sea-ice", "sea-ice"),
        ("sea_ice", "sea-ice"),
        ("Sea Ice", "sea-ice"),
        ("2027-climate", "p-2027-climate"),
        ("x" * 60, "x" * 31),
        ("", "p"),
        ("---", "p"),
    ],
)
def test_group_base__of_a_slug__is_as_in_the_table(slug: str, name: str) -> None:
    assert group_base(slug) == name


@given(st.text(max_size=100))
def test_group_base__whatever_the_slug__is_a_group_name(slug: str) -> None:
    assert USERNAME.fullmatch(group_base(slug))
    assert len(group_base(slug)) <= LENGTH_MAX
