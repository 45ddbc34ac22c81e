"""What is sent."""

from ninja import Schema
from pydantic import ConfigDict


class Strict(Schema):
    """What is sent holds nothing that is not known."""

    model_config = ConfigDict(extra="forbid")
