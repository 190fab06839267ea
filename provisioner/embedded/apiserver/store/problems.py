"""
Problems of single fields of an object, in Kubernetes' wording.

Source: k8s.io/apimachinery, pkg/util/validation/field/errors.go (the types of error and their messages).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One field error: the field's path, the machine-readable reason and the message."""

    field: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"

    def cause(self) -> dict[str, str]:
        """Return the entry for `details.causes` of a Status."""
        return {"reason": self.reason, "message": self.text, "field": self.field}


def required(field: str, detail: str = "") -> Problem:
    """Return the problem of a missing required value."""
    return Problem(field, "FieldValueRequired", _with("Required value", detail))


def invalid(field: str, value: Any, detail: str) -> Problem:
    """Return the problem of an invalid value."""
    return Problem(field, "FieldValueInvalid", _with(f"Invalid value: {_format_value(value)}", detail))


def unsupported(field: str, value: Any, valid: Iterable[str]) -> Problem:
    """Return the problem of a value that is not one of the supported ones."""
    known = ", ".join(f'"{each}"' for each in sorted(valid))
    return Problem(
        field, "FieldValueNotSupported", f"Unsupported value: {_format_value(value)}: supported values: {known}"
    )


def forbidden(field: str, detail: str) -> Problem:
    """Return the problem of a value that may not be set or changed."""
    return Problem(field, "FieldValueForbidden", _with("Forbidden", detail))


def immutable(field: str, value: Any) -> Problem:
    """Return the problem of a changed immutable value."""
    return invalid(field, value, "field is immutable")


def _with(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def _format_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
