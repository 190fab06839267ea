"""
What is wrong with one field of an object, in the words of Kubernetes.

Source: k8s.io/apimachinery, pkg/util/validation/field/errors.go (the kinds of error and how each is printed).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One field error: its path, its machine-readable reason and its words."""

    field: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"

    def cause(self) -> dict[str, str]:
        """The entry for `details.causes` of a Status."""
        return {"reason": self.reason, "message": self.text, "field": self.field}


def required(field: str, detail: str = "") -> Problem:
    """A value must be there and is not."""
    return Problem(field, "FieldValueRequired", _with("Required value", detail))


def invalid(field: str, value: Any, detail: str) -> Problem:
    """A value is there and cannot be used."""
    return Problem(field, "FieldValueInvalid", _with(f"Invalid value: {_shown(value)}", detail))


def unsupported(field: str, value: Any, valid: Iterable[str]) -> Problem:
    """A value is not one of the known ones."""
    known = ", ".join(f'"{each}"' for each in sorted(valid))
    return Problem(field, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {known}")


def forbidden(field: str, detail: str) -> Problem:
    """A value may not be there, or may not be changed."""
    return Problem(field, "FieldValueForbidden", _with("Forbidden", detail))


def immutable(field: str, value: Any) -> Problem:
    """A value may not be changed once it is set."""
    return invalid(field, value, "field is immutable")


def _with(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
