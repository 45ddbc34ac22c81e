"""The page that documents the API, made on the server from the same description that programs read.

No viewer is loaded: the page works without a network, without scripts and under our content security policy, and its
controls have names.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

METHODS: Final = {"get": "blue", "post": "green", "put": "orange", "patch": "orange", "delete": "red"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A type in words; `schema` is the name of the schema it speaks of, "" where it is a plain one."""

    words: str
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A parameter, or a field of a body."""

    name: str
    kind: Kind
    required: bool
    description: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    colour: str
    path: str
    summary: str
    description: str
    anchor: str
    parameters: list[Part]
    body: Kind | None
    answers: list[Answer]
    example: str
    opens: bool  # a GET without parameters in its path: it can be opened as it is


@dataclass(slots=True)
class Group:
    title: str
    operations: list[Operation] = field(default_factory=list)


def kind_of(schema: Mapping[str, Any]) -> Kind:
    """A JSON Schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return Kind(name, name)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            kinds = [kind_of(each) for each in schema[several]]
            named = next((kind.schema for kind in kinds if kind.schema), "")
            return Kind(_(" or ").join(kind.words for kind in kinds), named)
    if "enum" in schema:
        return Kind(" | ".join(str(value) for value in schema["enum"]))
    if "const" in schema:
        return Kind(str(schema["const"]))
    match schema.get("type"):
        case "array":
            inner = kind_of(schema.get("items", {}))
            return Kind(_("list of {kind}").format(kind=inner.words), inner.schema)
        case "object":
            return Kind(_("object"))
        case "null":
            return Kind(_("empty"))
        case "string":
            return Kind({"date-time": _("time (UTC)"), "date": _("day")}.get(schema.get("format", ""), _("text")))
        case "integer":
            return Kind(_("whole number"))
        case "number":
            return Kind(_("number"))
        case "boolean":
            return Kind(_("true or false"))
    return Kind(_("anything"))


def _bounds(schema: Mapping[str, Any]) -> str:
    said = [
        f"≥ {schema['minimum']}" if "minimum" in schema else "",
        f"≤ {schema['maximum']}" if "maximum" in schema else "",
    ]
    if "maxLength" in schema:
        said.append(_("at most {count} characters").format(count=schema["maxLength"]))
    if "default" in schema and schema["default"] is not None:
        said.append(_("default {value}").format(value=json.dumps(schema["default"])))
    return ", ".join(each for each in said if each)


def fields_of(schema: Mapping[str, Any]) -> Iterator[Part]:
    required = set(schema.get("required", ()))
    for name, each in schema.get("properties", {}).items():
        notes = [each.get("description", ""), _bounds(each)]
        yield Part(name, kind_of(each), name in required, " · ".join(note for note in notes if note))


def _sample(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """A small example of a value; deep enough to show the shape."""
    if "$ref" in schema:
        schema = schemas.get(schema["$ref"].rsplit("/", 1)[-1], {})
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _sample(schema[several][0], schemas, depth)
    if "examples" in schema:
        return schema["examples"][0]
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            names = schema.get("required", ()) if depth else schema.get("properties", {})
            return {n: _sample(schema["properties"][n], schemas, depth + 1) for n in names if depth < 4}
        case "array":
            return [_sample(schema.get("items", {}), schemas, depth + 1)] if depth < 4 else []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "string":
            return {"date-time": "2027-01-01T00:00:00Z", "date": "2027-01-01"}.get(schema.get("format", ""), "…")
    return None


def _example(method: str, path: str, body: Mapping[str, Any] | None, schemas: Mapping[str, Any]) -> str:
    lines = [f"curl -H 'Authorization: Bearer bur_…' {settings.BASE_URL}{path}"]
    if method != "get":
        lines[0] = lines[0].replace("curl ", f"curl -X {method.upper()} ", 1)
    if body is not None:
        sample = json.dumps(_sample(body, schemas), indent=2, ensure_ascii=False, default=str)
        lines += ["-H 'Content-Type: application/json'", f"-d '{sample}'"]
    return " \\\n  ".join(lines)


def described(schema: Mapping[str, Any]) -> tuple[list[Group], dict[str, list[Part]]]:
    """The operations by tag, and the fields of each schema, from an OpenAPI description."""
    schemas: Mapping[str, Any] = schema.get("components", {}).get("schemas", {})
    groups: dict[str, Group] = {}
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            title = (told.get("tags") or [_("Other")])[0]
            content = told.get("requestBody", {}).get("content", {})
            body = next((each.get("schema") for each in content.values()), None)
            answers = []
            for status, answer in told.get("responses", {}).items():
                inside = next((each.get("schema") for each in answer.get("content", {}).values()), None)
                answers.append(Answer(str(status), kind_of(inside) if inside else Kind(_("nothing"))))
            groups.setdefault(title, Group(title)).operations.append(
                Operation(
                    method=method.upper(),
                    colour=METHODS.get(method, "secondary"),
                    path=path,
                    summary=told.get("summary", ""),
                    description=told.get("description", ""),
                    anchor=told.get("operationId", ""),
                    parameters=[
                        Part(
                            each["name"],
                            kind_of(each.get("schema", {})),
                            each.get("required", False),
                            " · ".join(
                                note
                                for note in (
                                    each.get("description") or each.get("schema", {}).get("description", ""),
                                    _bounds(each.get("schema", {})),
                                )
                                if note
                            ),
                            each["in"],
                        )
                        for each in told.get("parameters", ())
                    ],
                    body=kind_of(body) if body else None,
                    answers=answers,
                    example=_example(method, path, body, schemas),
                    opens=method == "get" and "{" not in path,
                )
            )
    return list(groups.values()), {name: list(fields_of(each)) for name, each in sorted(schemas.items())}


class ServedDocs(DocsBase):
    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        groups, schemas = described(api.get_openapi_schema())
        return render(request, "bursar_api/docs.html", {"api": api, "groups": groups, "schemas": schemas})
