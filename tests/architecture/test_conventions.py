"""What the house agreed on and a machine can see."""

import ast
import importlib
import pkgutil

from django.conf import settings
from django.db import models

import bursar
from bursar.kernel.errors import DomainError
from tests.architecture.source import PACKAGE, dotted, nodes


def import_everything() -> None:
    for module in pkgutil.walk_packages(bursar.__path__, "bursar."):
        if not module.name.endswith(("__main__", ".asgi")) and ".migrations" not in module.name:
            importlib.import_module(module.name)


def refusals() -> list[type[DomainError]]:
    import_everything()
    found: list[type[DomainError]] = []
    waiting = [DomainError]
    while waiting:
        for child in waiting.pop().__subclasses__():
            waiting.append(child)
            if child.__module__.startswith("bursar."):
                found.append(child)
    return sorted(set(found), key=lambda c: (c.__module__, c.__qualname__))


def test_refusals__all__have_a_code_of_their_own() -> None:
    codes: dict[str, str] = {}
    problems = []
    for refusal in refusals():
        if refusal.__subclasses__() and not refusal.__dict__.get("code"):
            continue  # a family, never raised itself
        name = f"{refusal.__module__}.{refusal.__qualname__}"
        if not refusal.code:
            problems.append(f"{name} has no code")
        elif refusal.code in codes:
            problems.append(f"{name} has the code {refusal.code} of {codes[refusal.code]}")
        if not refusal.message:
            problems.append(f"{name} has no message")
        codes[refusal.code] = name
    assert problems == []


def test_refusals__all__are_raised_somewhere() -> None:
    # Raised, or made by a call of the class or of one of its own constructors.
    made = {part for _, node in nodes(ast.Call) for part in dotted(node.func).split(".")}
    made |= {part for _, node in nodes(ast.Raise) if node.exc is not None for part in dotted(node.exc).split(".")}
    unused = [
        f"{refusal.__module__}.{refusal.__qualname__}"
        for refusal in refusals()
        if refusal.__name__ not in made and not refusal.__subclasses__()
    ]
    assert unused == []


def test_refusals__messages__are_marked_for_translation() -> None:
    bare = [
        f"{file}:{item.lineno} {node.name}"
        for file, node in nodes(ast.ClassDef)
        for item in node.body
        if isinstance(item, (ast.Assign, ast.AnnAssign))
        and dotted(item.targets[0] if isinstance(item, ast.Assign) else item.target) == "message"
        and isinstance(item.value, (ast.Constant, ast.JoinedStr))
        and getattr(item.value, "value", None) != ""
    ]
    assert bare == []


def test_models__none__does_something_in_secret() -> None:
    import_everything()
    hooked = [
        f"{model.__module__}.{model.__name__}.{method}"
        for model in models.Model.__subclasses__()
        if model.__module__.startswith("bursar.")
        for method in ("save", "delete", "save_base", "full_clean", "__init__")
        if method in vars(model)
    ]
    assert hooked == []


def test_signals__none__is_connected() -> None:
    found = [
        f"{file}:{node.lineno}"
        for file, node in nodes(ast.ImportFrom)
        if (node.module or "").endswith("signals") or node.module == "django.dispatch"
    ]
    assert found == []


def test_settings__apps__leave_the_admin_out() -> None:
    assert "django.contrib.admin" not in settings.INSTALLED_APPS


CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now", "datetime.date.today",
    "timezone.now", "time.time", "time.time_ns",
}  # fmt: skip
# The clock itself; a pretend cluster is a world of its own; the supervisor and the database's start are about processes.
OWN_TIME = ("kernel/clock.py", "plugins/simulator/backend/", "config/demo/running.py")


def test_clock__outside_the_kernel__is_never_read() -> None:
    found = [
        f"{file}:{node.lineno} {dotted(node.func)}"
        for file, node in nodes(ast.Call)
        if dotted(node.func) in CLOCKS and not file.startswith(OWN_TIME)
    ]
    assert found == []


def test_domain_services__arguments__are_named_by_the_caller() -> None:
    """What writes in a transaction takes keywords only, so that a call reads like a sentence."""
    found = [
        f"{file}:{node.lineno} {node.name}"
        for file, node in nodes(ast.FunctionDef)
        if "/services" in file
        and not node.name.startswith("_")
        and any(dotted(d) == "transaction.atomic" for d in node.decorator_list)
        and (node.args.args or node.args.posonlyargs)
    ]
    assert found == []


def test_packages__all__say_what_they_are() -> None:
    silent = [p.parent.name for p in PACKAGE.glob("*/__init__.py") if not (p.parent / "README.md").exists()]
    assert silent == []
