"""Asking a plugin: whatever a stranger's code does becomes an answer, or one kind of trouble."""

import logging
from collections.abc import Callable
from typing import TypeVar

from bursar.kernel.errors import DomainError
from bursar.plugins.contract import BackendUnreachable

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Unreachable(Exception):
    """The backend cannot be asked now, whatever the cause; the message is for a person at the provider."""


def asked(work: Callable[[], T]) -> T:
    """Call a stranger's code.

    raises   Unreachable: it said so, or it broke; what broke goes to the log and not to the page
    """
    try:
        return work()
    except BackendUnreachable as error:
        raise Unreachable(str(error)) from error
    except DomainError as error:  # the registry: no such plugin, broken, secrets unreadable
        raise Unreachable(str(error)) from error
    except Exception as error:
        logger.exception("a plugin broke")
        raise Unreachable(f"The plugin broke: {type(error).__name__}. The server's log says where.") from error
