"""The subset of JSON Schema: what a form may be, and what may be filled in."""

import time

import pytest

from bursar.catalogue.errors import InvalidForm, InvalidOrderForm
from bursar.catalogue.order_form import (
    PROPERTIES_MAX,
    asked_fields,
    form_fields,
    validate_schema,
    validate_values,
    values_from_post,
)

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO8b1zu4HHNWPmRdl9nMzK7tlwmVqPTTg7QLzWnGYJh3 me@laptop"

FORM = validate_schema(
    {
        "type": "object",
        "required": ["name", "model"],
        "properties": {
            "name": {
                "type": "string",
                "title": "Name",
                "pattern": "^[a-z][a-z0-9-]*$",
                "minLength": 2,
                "maxLength": 20,
            },
            "cores": {"type": "integer", "minimum": 1, "maximum": 64, "default": 4},
            "share": {"type": "number", "minimum": 0, "maximum": 1},
            "gpu": {"type": "boolean", "title": "With a GPU"},
            "model": {"type": "string", "enum": ["a100", "h100"], "x-when": {"property": "gpu", "is": [True]}},
            "key": {"type": "string", "format": "ssh-public-key", "maxLength": 1000},
            "notes": {"type": "string", "format": "multiline"},
        },
    }
)


def problems(schema):
    with pytest.raises(InvalidOrderForm) as refusal:
        validate_schema(schema)
    return dict(refusal.value.errors)


def form(**properties):
    return {"type": "object", "properties": properties}


def errors(values, schema=FORM):
    with pytest.raises(InvalidForm) as refusal:
        validate_values(schema, values)
    return dict(refusal.value.errors)


# ------------------------------------------------------------------------------------------------ the form itself
def test_validate_schema__nothing__is_the_empty_form():
    assert validate_schema({}) == {"type": "object", "properties": {}, "required": [], "x-order": []}
    assert validate_values({}, {}) == {}


def test_validate_schema__valid__states_its_order():
    assert FORM["x-order"] == ["name", "cores", "share", "gpu", "model", "key", "notes"]
    shuffled = {**FORM, "properties": dict(sorted(FORM["properties"].items()))}
    assert [field.name for field in form_fields(shuffled)] == FORM["x-order"]
    assert validate_schema(FORM) == FORM


@pytest.mark.parametrize(
    ("schema", "where", "what"),
    [
        ([], "form", "It must be of the type object."),
        ("x", "form", "It must be of the type object."),
        ({"type": "array", "properties": {}}, "type", "It must be one of: object."),
        ({"type": "object"}, "form", "This is missing: properties."),
        ({"type": "object", "properties": {}, "$ref": "#"}, "form", "These words are not allowed here: $ref."),
        (
            {"type": "object", "properties": {}, "additionalProperties": True},
            "additionalProperties",
            "It must be one of: False.",
        ),
        (form(a={"type": "object"}), "properties.a.type", "It must be one of: string, integer, number, boolean."),
        (form(a={}), "properties.a", "This is missing: type."),
        (form(a={"type": "string", "$ref": "http://x"}), "properties.a", "These words are not allowed here: $ref."),
        (form(a={"type": "string", "oneOf": []}), "properties.a", "These words are not allowed here: oneOf."),
        (form(a={"type": "string", "maxLength": 10_001}), "properties.a.maxLength", "It is more than 10000."),
        (form(a={"type": "string", "enum": []}), "properties.a.enum", "It is less than 1."),
        (form(a={"type": "string", "enum": ["x", "x"]}), "properties.a.enum", "It may hold each thing once."),
        (form(a={"type": "integer", "pattern": "x"}), "a", "A field of the type integer has no pattern."),
        (form(a={"type": "string", "minimum": 1}), "a", "A field of the type string has no minimum."),
        (form(a={"type": "string", "minLength": 5, "maxLength": 4}), "a", "The smallest length is above the greatest."),
        (form(a={"type": "integer", "minimum": 5, "maximum": 4}), "a", "The smallest value is above the greatest."),
        (form(a={"type": "integer", "enum": [1, "2"]}), "a", "The choice “2” is not of the type integer."),
        (form(a={"type": "string", "enum": ["x"], "x-labels": {"y": "Y"}}), "a", "A label belongs to no choice."),
        (form(a={"type": "integer", "default": "4"}), "a", "The default does not fit: It must be a whole number."),
        (
            form(a={"type": "integer", "default": 9, "maximum": 8}),
            "a",
            "The default does not fit: It may be at most 8.",
        ),
        (
            form(A={"type": "string"}),
            "A",
            "A field's name begins with a small letter and holds small letters, digits, _ and -, at most 40.",
        ),
        ({**form(a={"type": "string"}), "required": ["b"]}, "b", "The form names it but has no such field."),
        (
            form(a={"type": "string", "x-when": {"property": "b", "is": ["x"]}}),
            "a",
            "The condition must name a field that comes before this one.",
        ),
        (
            form(a={"type": "string", "x-when": {"property": "a", "is": ["x"]}}),
            "a",
            "The condition must name a field that comes before this one.",
        ),
        (
            form(a={"type": "boolean"}, b={"type": "string", "x-when": {"property": "a", "is": ["yes"]}}),
            "b",
            "The condition's value “yes” can never be chosen.",
        ),
        (form(a={"type": "string", "pattern": "("}), "a", "The pattern is not a regular expression."),
    ],
)
def test_validate_schema__not_in_the_subset__says_where_and_what(schema, where, what):
    assert problems(schema) == {where: what}


def test_validate_schema__too_many_fields__refused():
    many = {f"f{i}": {"type": "string"} for i in range(PROPERTIES_MAX + 1)}
    assert problems(form(**many)) == {"properties": "It is more than 40."}


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "^(a*)*$",
        "^(a|a)*$",
        "^(a|ab)+$",
        "(.*a){20}",
        r"^(\w+\s?)+$",
        "^((a{1,}){1,}){1,}$",
        "^a*a*a*a*$",
        "^" + "a{0,60}" * 8 + "b$",
        "a*a*b*c",
    ],
)
def test_validate_schema__pattern_that_could_run_for_ever__refused(pattern):
    assert problems(form(a={"type": "string", "pattern": pattern})) == {
        "a": "The pattern could take too long: begin it with ^, let nothing that repeats stand inside a repeat, "
        "and allow shorter texts."
    }


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(?<!x)y", "(?(1)a|b)"])
def test_validate_schema__pattern_that_cannot_be_weighed__refused(pattern):
    found = problems(form(a={"type": "string", "pattern": pattern}))
    assert found["a"] in {
        "The pattern looks around or refers back: write it more simply.",
        "The pattern is not a regular expression.",
    }


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^a*a*a*b$", "a" * 256),
        (".*.*x", "y" * 256),
        ("^[a-z]+[a-z0-9]*-[0-9]+$", "a" * 256),
        ("^(foo|bar)(-[a-z]{1,20})?$", "foo-" + "a" * 40),
        (r"^([0-9]{1,3}\.){3}[0-9]{1,3}$", "1.1.1.x"),
        ("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", "a-" * 100),
    ],
)
def test_validate_values__worst_text_for_an_allowed_pattern__is_quick(pattern, text):
    schema = validate_schema(form(a={"type": "string", "pattern": pattern}))
    start = time.process_time()
    assert list(errors({"a": text}, schema)) == ["a"]
    assert time.process_time() - start < 2


# ------------------------------------------------------------------------------------------------ what is filled in
def test_validate_values__valid__with_defaults_in_order():
    assert validate_values(FORM, {"gpu": True, "model": "h100", "name": "thor"}) == {
        "name": "thor",
        "cores": 4,
        "gpu": True,
        "model": "h100",
    }


def test_validate_values__everything__kept():
    values = {"name": "ab", "cores": 64, "share": 0.5, "gpu": False, "key": ED25519, "notes": "one\ntwo"}
    assert validate_values(FORM, values) == values


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"name": "This is needed."}),
        ({"name": ""}, {"name": "This is needed."}),
        ({"name": None}, {"name": "This is needed."}),
        ({"name": 5}, {"name": "It must be a text."}),
        ({"name": "a"}, {"name": "It must have at least 2 characters."}),
        ({"name": "a" * 21}, {"name": "It may have at most 20 characters."}),
        ({"name": "Thor"}, {"name": "It does not have the form that is asked for."}),
        ({"name": "thor\n"}, {"name": "It holds control characters or line breaks."}),
        ({"name": "th\x00or"}, {"name": "It does not have the form that is asked for."}),
        ({"name": "thor", "cores": "4"}, {"cores": "It must be a whole number."}),
        ({"name": "thor", "cores": 4.0}, {"cores": "It must be a whole number."}),
        ({"name": "thor", "cores": True}, {"cores": "It must be a whole number."}),
        ({"name": "thor", "cores": 0}, {"cores": "It must be at least 1."}),
        ({"name": "thor", "cores": 65}, {"cores": "It may be at most 64."}),
        ({"name": "thor", "cores": [4]}, {"cores": "It must be a whole number."}),
        ({"name": "thor", "share": "half"}, {"share": "It must be a number."}),
        ({"name": "thor", "share": float("nan")}, {"share": "It must be a number."}),
        ({"name": "thor", "share": float("inf")}, {"share": "It must be a number."}),
        ({"name": "thor", "gpu": "yes"}, {"gpu": "It must be true or false."}),
        ({"name": "thor", "gpu": 1}, {"gpu": "It must be true or false."}),
        ({"name": "thor", "gpu": True}, {"model": "This is needed."}),
        ({"name": "thor", "gpu": True, "model": "v100"}, {"model": "It must be one of: a100, h100."}),
        ({"name": "thor", "model": "a100"}, {"model": "This is only asked when “With a GPU” is yes."}),
        ({"name": "thor", "colour": "red"}, {"colour": "This form has no such field."}),
        ({"name": "thor", "notes": "a\x07b"}, {"notes": "It holds control characters or line breaks."}),
        ({"name": "thor", "notes": "x" * 2001}, {"notes": "It may have at most 2000 characters."}),
    ],
)
def test_validate_values__wrong__says_so_by_field(values, expected):
    assert errors(values) == expected


@pytest.mark.parametrize("values", [None, [], "name=thor", 7])
def test_validate_values__not_an_object__refused(values):
    assert errors(values) == {"form": "What is filled in must be an object of fields and values."}


def test_validate_values__private_key__refused_with_the_reason():
    found = errors({"name": "thor", "key": "-----BEGIN OPENSSH PRIVATE KEY-----"})
    assert list(found) == ["key"]
    assert "private key" in found["key"]


def test_validate_values__several_wrong__all_named():
    assert errors({"cores": "x", "share": 2}) == {
        "name": "This is needed.",
        "cores": "It must be a whole number.",
        "share": "It may be at most 1.",
    }


# ------------------------------------------------------------------------------------------------ from a page
def test_values_from_post__texts__become_what_they_stand_for():
    posted = {
        "f-name": " thor ",
        "f-cores": "8",
        "f-share": "0.25",
        "f-gpu": "on",
        "f-model": "a100",
        "f-notes": "a\r\nb",
    }
    assert values_from_post(FORM, posted, "f-") == {
        "name": "thor", "cores": 8, "share": 0.25, "gpu": True, "model": "a100", "notes": "a\nb",
    }  # fmt: skip


def test_values_from_post__not_asked_or_empty__left_out():
    assert values_from_post(FORM, {"name": "thor", "cores": "", "model": "a100"}) == {"name": "thor", "gpu": False}


def test_values_from_post__not_a_number__stays_a_text_for_the_check_to_refuse():
    values = values_from_post(FORM, {"name": "thor", "cores": "many", "share": "1e999"})
    assert values == {"name": "thor", "cores": "many", "share": float("inf"), "gpu": False}
    assert errors(values) == {"cores": "It must be a whole number.", "share": "It must be a number."}


def test_values_from_post__choices_of_numbers__typed():
    schema = validate_schema(form(size={"type": "integer", "enum": [10, 20]}))
    assert values_from_post(schema, {"size": "20"}) == {"size": 20}


def test_asked_fields__condition__only_with_its_answer():
    assert "model" not in [field.name for field in asked_fields(FORM, {})]
    assert "model" in [field.name for field in asked_fields(FORM, {"gpu": True})]
    assert "model" not in [field.name for field in asked_fields(FORM, {"gpu": 1})]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "It does not have the form that is asked for."),
        ({"default": "node-1"}, "It does not have the form that is asked for, such as “node-1”."),
        ({"default": "node-1", "description": "Small letters and digits."}, "Small letters and digits."),
        ({"description": "Of the machine.", "x-pattern-words": "Such as node-1."}, "Such as node-1."),
    ],
)
def test_validate_values__not_of_the_pattern__says_what_is_asked_in_the_providers_words(
    told: dict[str, str], said: str
) -> None:
    schema = validate_schema(form(name={"type": "string", "pattern": "^[a-z0-9-]*$", **told}))
    with pytest.raises(InvalidForm) as refused:
        validate_values(schema, {"name": "Node 1"})
    assert refused.value.errors == {"name": said}
