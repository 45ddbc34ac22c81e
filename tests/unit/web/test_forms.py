"""Forms in our markup, amounts in their unit, refusals by their field."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from django import forms

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.quantity import Unit
from bursar.web.forms import QuantityField, refusals_in


class Order(forms.Form):
    name = forms.CharField(label="Name", help_text="As on the door", max_length=5)
    hours = QuantityField(label="Hours", unit=Unit("core-hours", 3600), required=False)
    agree = forms.BooleanField(label="I agree", required=False)
    size = forms.ChoiceField(choices=[("s", "Small"), ("l", "Large")], widget=forms.RadioSelect, required=False)


@dataclass(eq=False)
class Taken(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "taken"
    message: ClassVar[str] = "“{name}” is taken."
    name: str
    field: str = "name"


def test_field__with_an_error__is_tied_to_its_words() -> None:
    html = Order({"name": "too long"})["name"].as_field_group()
    assert 'class="form-control is-invalid"' in html
    assert 'aria-invalid="true"' in html
    assert 'aria-describedby="id_name_helptext id_name_error"' in html
    assert 'id="id_name_error"' in html


def test_field__each_kind__has_its_class_and_a_label() -> None:
    html = str(Order())
    assert '<label class="form-label required" for="id_name">Name</label>' in html
    assert '<span class="input-group-text">core-hours</span>' in html
    assert 'class="form-check-input"' in html
    assert "<legend" in html
    assert "style=" not in html


@pytest.mark.parametrize(("text", "ticks"), [("1.5", 5400), (" 0 ", 0), ("1\u202f000", 3_600_000), ("", None)])
def test_quantity__typed_in_units__is_whole_ticks(text: str, ticks: int | None) -> None:
    form = Order({"name": "x", "hours": text})
    assert form.is_valid(), form.errors
    assert form.cleaned_data["hours"] == ticks


@pytest.mark.parametrize(
    ("text", "code"),
    [("x", "not_a_number"), ("0.0001", "not_whole_ticks"), ("-1", "too_small"), ("1e30", "quantity_too_large")],
)
def test_quantity__that_cannot_be__is_refused_by_code(text: str, code: str) -> None:
    form = Order({"name": "x", "hours": text})
    assert not form.is_valid()
    assert form.errors.as_data()["hours"][0].code == code


def test_quantity__value_of_before__is_shown_in_units() -> None:
    assert 'value="1.5"' in str(Order(initial={"hours": 5400})["hours"])


def test_refusals_in__a_refusal_that_names_its_field__stands_there() -> None:
    form = Order({"name": "x"})
    assert form.is_valid()
    with refusals_in(form):
        raise Taken(name="x")
    assert form.errors == {"name": ["“x” is taken."]}


def test_refusals_in__a_field_the_form_does_not_have__stands_above() -> None:
    form = Order({"name": "x"})
    assert form.is_valid()
    with refusals_in(form):
        raise Taken(name="x", field="elsewhere")
    assert form.non_field_errors() == ["“x” is taken."]


def test_refusals_in__a_bug__passes_on() -> None:
    form = Order({"name": "x"})
    with pytest.raises(ZeroDivisionError), refusals_in(form):
        raise ZeroDivisionError
