"""`makemessages` that also finds the messages of packages that do not import Django."""

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    # The kernel, the engine and the plugins mark theirs with N_; the edges translate them.
    xgettext_options = [*makemessages.Command.xgettext_options, "--keyword=N_"]
