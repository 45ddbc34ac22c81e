"""What others read of Bursar is well-formed: the description of the API, and the translations."""

import os
import sys
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def api_description() -> list[str]:
    if find_spec("bursar.api") is None:
        return []
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bursar.config.settings")
    import django

    django.setup()
    import schemathesis

    from bursar.api.api import api

    description = api.get_openapi_schema(path_prefix="/api/v1/")
    schemathesis.openapi.from_dict(description).validate()
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, item in description["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]
    problems = []
    seen: dict[str, str] = {}
    for name, operation in operations:
        identity = operation.get("operationId", "")
        if not identity:
            problems.append(f"{name} has no operationId")
        elif identity in seen:
            problems.append(f"{name} and {seen[identity]} have the same operationId {identity}")
        seen[identity] = name
        if not operation.get("summary"):
            problems.append(f"{name} has no summary")
    return problems


def translations() -> list[str]:
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import PoFileError, read_po

    problems = []
    for file in sorted((ROOT / "src" / "bursar").rglob("*.po")):
        where = file.relative_to(ROOT)
        try:
            with file.open("rb") as opened:
                catalog = read_po(opened, abort_invalid=True)
        except PoFileError as error:
            problems.append(f"{where}: {error}")
            continue
        problems += [
            f"{where}:{message.lineno}: {problem}" for message, found in catalog.check() for problem in found
        ]  # fmt: skip
        write_mo(BytesIO(), catalog)
    return problems


if __name__ == "__main__":
    found = api_description() + translations()
    print("\n".join(found))
    sys.exit(bool(found))
