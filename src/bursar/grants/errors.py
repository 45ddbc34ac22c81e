"""What grants refuse, each with its code and what to do next."""

from dataclasses import dataclass
from typing import ClassVar

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_


# ------------------------------------------------------------------------------------------------ what is not there
@dataclass(eq=False)
class ApplicationNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "application_not_found"
    message: ClassVar[str] = N_("There is no such application, or you may not see it.")


@dataclass(eq=False)
class GiverNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "giver_not_found"
    message: ClassVar[str] = N_("There is no such grant giver, or it cannot be asked here.")


@dataclass(eq=False)
class CommentNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "grant_comment_not_found"
    message: ClassVar[str] = N_("There is no such comment, or you may not see it.")


@dataclass(eq=False)
class AttachmentNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "attachment_not_found"
    message: ClassVar[str] = N_("There is no such file, or you may not see it.")


@dataclass(eq=False)
class NoticeNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "notice_not_found"
    message: ClassVar[str] = N_("There is no such notice, or it is not yours.")


@dataclass(eq=False)
class LogoNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "logo_not_found"
    message: ClassVar[str] = N_("There is no such logo, or you may not see it.")


@dataclass(eq=False)
class GiftNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "gift_not_found"
    message: ClassVar[str] = N_("There is no such gift, or it is not for you.")


# ------------------------------------------------------------------------------------------------ what was asked
@dataclass(eq=False)
class RecipientMissing(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "recipient_missing"
    message: ClassVar[str] = N_("Say for whom this is: a new project, an existing project or your personal workspace.")
    field: str = "workspace"


@dataclass(eq=False)
class ProjectNameMissing(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "project_name_missing"
    message: ClassVar[str] = N_("A new project needs a name.")
    field: str = "project_name"


@dataclass(eq=False)
class ProjectHomeNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "project_home_not_possible"
    message: ClassVar[str] = N_("The new project can be in one of: {possible}.")
    possible: str
    field: str = "organization"


@dataclass(eq=False)
class NothingAsked(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "nothing_asked"
    message: ClassVar[str] = N_("Ask for at least one amount.")
    field: str = "amounts"


@dataclass(eq=False)
class AmountNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "amount_not_possible"
    message: ClassVar[str] = N_("{category}: ask for more than nothing, and for no more than can be counted.")
    category: str
    field: str = "amounts"


@dataclass(eq=False)
class AskedTwice(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "asked_twice"
    message: ClassVar[str] = N_("{category} is asked of {giver} twice. Put both amounts into one.")
    giver: str
    category: str
    field: str = "amounts"


@dataclass(eq=False)
class AsksItself(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "asks_itself"
    message: ClassVar[str] = N_("{giver} cannot give to itself.")
    giver: str
    field: str = "amounts"


@dataclass(eq=False)
class NotAdmitted(DomainError):
    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "not_admitted"
    message: ClassVar[str] = N_(
        "{giver} does not take applications from you. The list of givers shows whom you may ask."
    )
    giver: str


@dataclass(eq=False)
class NotOffered(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "not_offered"
    message: ClassVar[str] = N_("{giver} has no {category} to give.")
    giver: str
    category: str
    field: str = "amounts"


@dataclass(eq=False)
class NotYetOffered(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "not_yet_offered"
    message: ClassVar[str] = N_("{giver} has {category} to give from {start} on. Let the period begin then.")
    giver: str
    category: str
    start: str
    field: str = "start"


@dataclass(eq=False)
class NotOfferedThatLong(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "not_offered_that_long"
    message: ClassVar[str] = N_("{giver} has {category} to give until {end}. Let the period end by then.")
    giver: str
    category: str
    end: str
    field: str = "end"


@dataclass(eq=False)
class PeriodMissing(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "period_missing"
    message: ClassVar[str] = N_("Say until when this is needed.")
    field: str = "end"


@dataclass(eq=False)
class PeriodNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "period_not_possible"
    message: ClassVar[str] = N_("The period ends after it starts, in the future, and is at most {years} years long.")
    years: int
    field: str = "end"


@dataclass(eq=False)
class PeriodOver(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "period_over"
    message: ClassVar[str] = N_(
        "The period of this application ended on {end}: there is nothing left to approve. Ask for a new period, or reject it."
    )
    end: str


@dataclass(eq=False)
class GrantReasonMissing(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "grant_reason_missing"
    message: ClassVar[str] = N_("Say why, so that the others understand.")
    field: str = "reason"


@dataclass(eq=False)
class InvalidFormTemplate(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_form_template"
    message: ClassVar[str] = N_("Field {place}: it needs {problem}.")
    place: str
    problem: str
    field: str = "fields"


@dataclass(eq=False)
class InvalidAnswers(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_answers"
    message: ClassVar[str] = N_("The form is not filled in as it should be: {problems}.")
    problems: str
    errors: dict[str, str]
    field: str = "answers"


@dataclass(eq=False)
class FormUnknown(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "form_unknown"
    message: ClassVar[str] = N_("{giver} has no form of version {version} for this.")
    giver: str
    version: int
    field: str = "answers"


@dataclass(eq=False)
class PartClosed(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "part_closed"
    message: ClassVar[str] = N_("{giver} has rejected its part. It cannot be asked again in this application.")
    giver: str


@dataclass(eq=False)
class NothingRevised(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "nothing_revised"
    message: ClassVar[str] = N_("Nothing differs from the present revision.")


# ------------------------------------------------------------------------------------------------ steps
@dataclass(eq=False)
class ApplicationStepNotOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "application_step_not_open"
    message: ClassVar[str] = N_("The application is {state}, so this step is not open ({action}).")
    state: str
    action: str


@dataclass(eq=False)
class PartStepNotOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "part_step_not_open"
    message: ClassVar[str] = N_("The part of {giver} is {state}, so this step is not open ({action}).")
    giver: str
    state: str
    action: str


@dataclass(eq=False)
class RevisionOutdated(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "revision_outdated"
    message: ClassVar[str] = N_(
        "The application was changed meanwhile: revision {revision} is the present one. Read it and decide again."
    )
    revision: int


@dataclass(eq=False)
class OwnApplication(DomainError):
    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "own_application"
    message: ClassVar[str] = N_("You applied yourself: somebody else has to judge it.")


@dataclass(eq=False)
class NotAskedHere(DomainError):
    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "not_asked_here"
    message: ClassVar[str] = N_("{giver} is not asked in this application.")
    giver: str


@dataclass(eq=False)
class AgreementNotAwaited(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "agreement_not_awaited"
    message: ClassVar[str] = N_("Nobody changed the amounts, so there is nothing to agree to.")


@dataclass(eq=False)
class ApplicationKeyReused(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "application_key_reused"
    message: ClassVar[str] = N_("This key belongs to application {application_id}, which asks for something else.")
    application_id: int


@dataclass(eq=False)
class BeyondWhatIsHeld(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "beyond_what_is_held"
    message: ClassVar[str] = N_(
        "{giver} can give at most {left} {unit} of {category} during this period; {asked} {unit} are asked."
    )
    giver: str
    category: str
    asked: str
    left: str
    unit: str


@dataclass(eq=False)
class HandsOverToItself(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "hands_over_to_itself"
    message: ClassVar[str] = N_("The part is with {giver} already.")
    giver: str


@dataclass(eq=False)
class NotHandedOver(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "not_handed_over"
    message: ClassVar[str] = N_(
        "{giver} cannot take this part over, because it does not have to give: {categories}. Nothing was handed over."
    )
    giver: str
    categories: str


@dataclass(eq=False)
class NothingToRevoke(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "nothing_to_revoke"
    message: ClassVar[str] = N_("Nothing that {giver} granted here is still running.")
    giver: str


# ------------------------------------------------------------------------------------------------ comments, files, settings, gifts
@dataclass(eq=False)
class CommentWithdrawn(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "comment_withdrawn"
    message: ClassVar[str] = N_("This comment was withdrawn already.")


@dataclass(eq=False)
class FileTooLarge(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "file_too_large"
    message: ClassVar[str] = N_("The file is too large: at most {limit}.")
    limit: str
    field: str = "file"


@dataclass(eq=False)
class FileTypeNotAllowed(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "file_type_not_allowed"
    message: ClassVar[str] = N_(
        "The file {name} is not what its name says, or of a type that is not taken. Possible: {possible}."
    )
    name: str
    possible: str
    field: str = "file"


@dataclass(eq=False)
class FileAnswers(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "file_answers"
    message: ClassVar[str] = N_(
        "{name} answers a question of {giver}. Change the application so that another file answers it, then remove this one."
    )
    name: str
    giver: str


@dataclass(eq=False)
class TooManyFiles(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "too_many_files"
    message: ClassVar[str] = N_("An application has at most {limit} files.")
    limit: int


@dataclass(eq=False)
class PictureNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "picture_not_possible"
    message: ClassVar[str] = N_(
        "This is not a picture that can be shown. Possible: {possible}, still, {least} to {most} points wide and high."
    )
    possible: str
    least: int
    most: int
    field: str = "file"


@dataclass(eq=False)
class InvalidCriterion(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_criterion"
    message: ClassVar[str] = N_("“{value}” is not possible here: it needs {expected}.")
    value: str
    expected: str
    field: str = "criteria"


@dataclass(eq=False)
class PromiseNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "promise_not_possible"
    message: ClassVar[str] = N_("A giver promises 1 to 1000 per cent of what it holds.")
    field: str = "promise_percent"


@dataclass(eq=False)
class RuleNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "rule_not_possible"
    message: ClassVar[str] = N_("A rule needs a kind of recipient, and amounts of what {giver} has to give.")
    giver: str


@dataclass(eq=False)
class GiftNotPossible(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "gift_not_possible"
    message: ClassVar[str] = N_("A gift needs {expected}.")
    expected: str


@dataclass(eq=False)
class GiftTaken(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "gift_taken"
    message: ClassVar[str] = N_("You have taken this gift already. The next time is from {next} on.")
    next: str


@dataclass(eq=False)
class GiftUsedUp(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "gift_used_up"
    message: ClassVar[str] = N_("Nothing is left of this gift.")
