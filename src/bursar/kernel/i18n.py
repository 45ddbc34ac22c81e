"""Mark a string for translation where gettext itself may not be imported; the edges translate it."""


def N_(message: str) -> str:
    """Return the message as it is; `makemessages` collects it."""
    return message
