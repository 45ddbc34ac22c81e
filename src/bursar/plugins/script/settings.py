"""Which command serves which verb, and in what surroundings it runs."""

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from bursar.kernel.i18n import N_
from bursar.plugins.contract import OPERATOR_ONLY, BackendSettings

WORDS_MAX: Final = 50
WORD_LENGTH_MAX: Final = 4096
OWN_VARIABLES: Final = frozenset({"PATH", "BURSAR_VERB", "BURSAR_TOKEN"})
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _command(words: list[str]) -> list[str]:
    if words and not words[0].startswith("/"):
        raise ValueError("the program is named by its absolute path")
    if len(words) > WORDS_MAX or any(len(word) > WORD_LENGTH_MAX for word in words):
        raise ValueError(f"at most {WORDS_MAX} words of {WORD_LENGTH_MAX} characters")
    if any("\0" in word for word in words):
        raise ValueError("a word of a command cannot hold a zero character")
    return words


Command = Annotated[list[str], AfterValidator(_command)]
"""A program's absolute path and its arguments, each as it is: no shell reads them. Empty = the verb is not served."""


def _verb(title: str, description: str) -> object:
    # Each names a program of the machine that it runs on.
    return Field(title=title, description=description, json_schema_extra=dict(OPERATOR_ONLY))


class ScriptSettings(BackendSettings):
    """An ability is there once its commands are named."""

    ensure: Annotated[
        Command,
        _verb(
            N_("To make or change"),
            N_(
                "Makes the backend hold a resource as it should be. Of each command first the program, then each argument."
            ),
        ),
    ] = []
    remove: Annotated[Command, _verb(N_("To remove"), N_("Makes the backend hold it no longer."))] = []
    observe: Annotated[Command, _verb(N_("To look"), N_("Tells what the backend shows of a resource."))] = []
    pause: Annotated[Command, _verb(N_("To pause"), N_("Lets a resource stand still."))] = []
    resume: Annotated[Command, _verb(N_("To resume"), N_("Lets a paused resource run again."))] = []
    enforce_quota: Annotated[Command, _verb(N_("To set the quota"), N_("Sets what may still be drawn."))] = []
    ensure_account: Annotated[Command, _verb(N_("To make an account"), N_("Answers a person's user name."))] = []
    block_account: Annotated[Command, _verb(N_("To block an account"), N_("Lets nobody log in by it."))] = []
    remove_account: Annotated[Command, _verb(N_("To remove an account"), N_("Takes it away, its files not."))] = []
    ensure_group: Annotated[
        Command, _verb(N_("To make a group"), N_("Makes a project's group and has exactly these users in it."))
    ] = []
    remove_group: Annotated[Command, _verb(N_("To remove a group"), N_("Takes a project's group away."))] = []
    set_members: Annotated[Command, _verb(N_("To set the members"), N_("Lets exactly these use a resource."))] = []
    measure: Annotated[Command, _verb(N_("To measure"), N_("Tells what was used since a mark."))] = []
    importable: Annotated[Command, _verb(N_("To list what is there"), N_("Tells what could be taken over."))] = []
    health: Annotated[Command, _verb(N_("To test"), N_("Tells how the backend stands."))] = []
    folder: Annotated[
        str,
        Field(
            title=N_("Working folder"),
            description=N_("Absolute path; the commands run in it."),
            max_length=500,
            json_schema_extra=dict(OPERATOR_ONLY),
        ),
    ] = "/"
    environment: Annotated[
        dict[str, str],
        Field(
            title=N_("Environment"),
            description=N_("What the commands find in their environment; of this server's own only PATH."),
            max_length=100,
            json_schema_extra=dict(OPERATOR_ONLY),
        ),
    ] = {}
    token: Annotated[
        SecretStr | None,
        Field(
            title=N_("Secret"),
            description=N_("What the commands find in their environment as BURSAR_TOKEN, for what they talk to."),
        ),
    ] = None
    seconds: Annotated[
        int,
        Field(
            title=N_("Patience with a command, seconds"),
            description=N_("After it the command is ended, with all that it started."),
            ge=1,
            le=3600,
        ),
    ] = 60

    @field_validator("folder")
    @classmethod
    def _absolute_path(cls, value: str) -> str:
        if not value.startswith("/") or "\0" in value:
            raise ValueError("an absolute path is needed")
        return value

    @field_validator("environment")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError("a variable is named with letters, digits and _")
            if name in OWN_VARIABLES:
                raise ValueError(f"{name} is set for the commands already")
            if "\0" in text or len(text) > WORD_LENGTH_MAX:
                raise ValueError(f"{name}: at most {WORD_LENGTH_MAX} characters, none of them zero")
        return value

    @field_validator("token")
    @classmethod
    def _fits_an_environment(cls, token: SecretStr | None) -> SecretStr | None:
        text = "" if token is None else token.get_secret_value()
        # A short word would be struck out of every message in which it happens to occur.
        if token is not None and ("\0" in text or not 8 <= len(text) <= WORD_LENGTH_MAX):
            raise ValueError(f"must have 8 to {WORD_LENGTH_MAX} characters, none of them zero")
        return token

    @model_validator(mode="after")
    def _whole(self) -> Self:
        making = [self.ensure, self.remove, self.observe]
        if any(making) and not all(making):
            raise ValueError("the commands to make, to remove and to look go together")
        if bool(self.pause) != bool(self.resume):
            raise ValueError("the commands to pause and to resume go together")
        if not any(making) and not self.measure:
            raise ValueError("name the commands to make, to remove and to look, or the one to measure")
        return self
