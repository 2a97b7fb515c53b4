"""What all configuration sections share: frozen data, numbers with limits, and no passwords."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]

MOST = 2**62
"""The largest whole number that any key takes."""

_URL_WITH_PASSWORD = re.compile(r"[\w+.-]+://[^/@]*:[^/]*@")


class Section(BaseModel):
    """Base of all sections: frozen data, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_endless_numbers(cls, value: object) -> object:
        """What no counter of the compiled loops can hold."""
        if isinstance(value, int) and abs(value) > MOST:
            raise ValueError(f"input should be at most {MOST}, got {value}")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_passwords(cls, value: object) -> object:
        """Checkpoints and exported models carry the configuration along, to whoever reads them."""
        for text in value if isinstance(value, list | tuple) else (value,):
            if isinstance(text, str) and _URL_WITH_PASSWORD.match(text):
                raise ValueError(
                    "holds a password, which every checkpoint would carry along; write `machine "
                    "HOST login USER password PASSWORD` into ~/.netrc (for s3 and oss set the "
                    "variables that their programs read) and take user and password out of the URL"
                )
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_yes_as_number(cls, value: object, field: ValidationInfo) -> object:
        """Python takes True for 1, and YAML takes `yes` and `on` for True."""
        if isinstance(value, bool) and field.field_name is not None:
            kinds = _kinds(cls.model_fields[field.field_name].annotation)
            if kinds & {int, float} and bool not in kinds:
                raise ValueError(f"input should be a number, got {value}")
        return value


def _kinds(annotation: object) -> set[object]:
    """The plain types that a field admits: of unions, and of literals their values' types."""
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    parts = get_args(annotation)
    return {annotation}.union(*map(_kinds, parts)) if parts else {annotation}
