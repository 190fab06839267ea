"""Read fields of a decoded object; a value of the wrong type raises InvalidObjectError with the field's path."""

from collections.abc import Callable
from typing import Any, TypeVar

from provisioner.model.errors import InvalidObjectError
from provisioner.model.kinds import Object
from provisioner.model.quantity import InvalidQuantityError, Quantity
from provisioner.model.selector import InvalidSelectorError

T = TypeVar("T")


class Fields:
    """One object of a kind; each method takes a dotted path and returns a value of one type."""

    def __init__(self, kind: str, obj: Object) -> None:
        self._kind = kind
        self._obj = obj

    def wrong(self, path: str, problem: str) -> InvalidObjectError:
        """Return the error about a field of this object."""
        return InvalidObjectError(kind=self._kind, obj=self._obj, field=path, problem=problem)

    def raw(self, path: str) -> Any:
        """Return the value at the path; None where a part of the path is absent."""
        value: Any = self._obj
        walked: list[str] = []
        for part in path.split("."):
            if value is None:
                return None
            if not isinstance(value, dict):
                raise self.wrong(".".join(walked), "is not an object")
            value = value.get(part)
            walked.append(part)
        return value

    def text(self, path: str, default: str = "") -> str:
        """Return a string, or the default where it is absent."""
        return self._typed(path, str, default)

    def number(self, path: str, default: int = 0) -> int:
        """Return an integer, or the default where it is absent."""
        return self._typed(path, int, default)

    def flag(self, path: str) -> bool:
        """Return a boolean, False where it is absent."""
        return self._typed(path, bool, default=False)

    def mapping(self, path: str) -> dict[str, str]:
        """Return a map of strings, empty where it is absent."""
        found = self._typed(path, dict, {})
        if not all(isinstance(key, str) and isinstance(value, str) for key, value in found.items()):
            raise self.wrong(path, "has a key or value that is not a string")
        return found

    def texts(self, path: str) -> tuple[str, ...]:
        """Return a list of strings, empty where it is absent."""
        found = self._typed(path, list, [])
        if not all(isinstance(each, str) for each in found):
            raise self.wrong(path, "has an entry that is not a string")
        return tuple(found)

    def objects(self, path: str) -> tuple[Object, ...]:
        """Return a list of objects, empty where it is absent."""
        found = self._typed(path, list, [])
        if not all(isinstance(each, dict) for each in found):
            raise self.wrong(path, "has an entry that is not an object")
        return tuple(found)

    def quantity(self, path: str, default: Quantity) -> Quantity:
        """Return a quantity, or the default where it is absent."""
        found = self.raw(path)
        try:
            return default if found is None else Quantity.parse(found)
        except InvalidQuantityError as error:
            raise self.wrong(path, str(error)) from None

    def read(self, path: str, reader: Callable[[Object], T]) -> T | None:
        """Return the result of `reader` for the object at the path; None where it is absent."""
        found = self.raw(path)
        if found is None:
            return None
        if not isinstance(found, dict):
            raise self.wrong(path, "is not an object")
        try:
            return reader(found)
        except InvalidSelectorError as error:
            raise self.wrong(path, str(error)) from None

    def _typed(self, path: str, expected: type[T], default: T) -> T:
        found = self.raw(path)
        if found is None:
            return default
        if not isinstance(found, expected) or (expected is int and isinstance(found, bool)):
            raise self.wrong(path, f"is not {_WORDS.get(expected, expected.__name__)}")
        return found


_WORDS: dict[type, str] = {str: "a string", int: "a whole number", bool: "true or false", dict: "a map", list: "a list"}
