"""Reading fields of a decoded object, so that a wrong shape becomes one clear error instead of a traceback."""

from collections.abc import Callable
from typing import Any, TypeVar

from provisioner.model.errors import InvalidObject
from provisioner.model.kinds import Object
from provisioner.model.quantity import InvalidQuantity, Quantity
from provisioner.model.selector import InvalidSelector

T = TypeVar("T")


class Fields:
    """One object under its kind's name; every reader takes a dotted path and gives a value of one type."""

    def __init__(self, kind: str, obj: Object) -> None:
        self._kind = kind
        self._obj = obj

    def wrong(self, path: str, problem: str) -> InvalidObject:
        """The error about this object's field."""
        return InvalidObject(kind=self._kind, obj=self._obj, field=path, problem=problem)

    def raw(self, path: str) -> Any:
        """Whatever is there; None where anything on the way is absent."""
        here: Any = self._obj
        walked: list[str] = []
        for part in path.split("."):
            if here is None:
                return None
            if not isinstance(here, dict):
                raise self.wrong(".".join(walked), "is not an object")
            here = here.get(part)
            walked.append(part)
        return here

    def text(self, path: str, default: str = "") -> str:
        """A string, or the default where it is absent."""
        return self._typed(path, str, default)

    def number(self, path: str, default: int = 0) -> int:
        """A whole number, or the default where it is absent."""
        return self._typed(path, int, default)

    def flag(self, path: str) -> bool:
        """A truth value; absent is false."""
        return self._typed(path, bool, default=False)

    def mapping(self, path: str) -> dict[str, str]:
        """A map of strings, empty where it is absent."""
        found = self._typed(path, dict, {})
        if not all(isinstance(key, str) and isinstance(value, str) for key, value in found.items()):
            raise self.wrong(path, "has a key or value that is not a string")
        return found

    def texts(self, path: str) -> tuple[str, ...]:
        """A list of strings, empty where it is absent."""
        found = self._typed(path, list, [])
        if not all(isinstance(each, str) for each in found):
            raise self.wrong(path, "has an entry that is not a string")
        return tuple(found)

    def objects(self, path: str) -> tuple[Object, ...]:
        """A list of objects, empty where it is absent."""
        found = self._typed(path, list, [])
        if not all(isinstance(each, dict) for each in found):
            raise self.wrong(path, "has an entry that is not an object")
        return tuple(found)

    def quantity(self, path: str, default: Quantity) -> Quantity:
        """A quantity, or the default where it is absent."""
        found = self.raw(path)
        try:
            return default if found is None else Quantity.parse(found)
        except InvalidQuantity as error:
            raise self.wrong(path, str(error)) from None

    def read(self, path: str, reader: Callable[[Object], T]) -> T | None:
        """Whatever `reader` makes of the object there; None where it is absent."""
        found = self.raw(path)
        if found is None:
            return None
        if not isinstance(found, dict):
            raise self.wrong(path, "is not an object")
        try:
            return reader(found)
        except InvalidSelector as error:
            raise self.wrong(path, str(error)) from None

    def _typed(self, path: str, wanted: type[T], default: T) -> T:
        found = self.raw(path)
        if found is None:
            return default
        if not isinstance(found, wanted) or (wanted is int and isinstance(found, bool)):
            raise self.wrong(path, f"is not {_WORDS.get(wanted, wanted.__name__)}")
        return found


_WORDS: dict[type, str] = {str: "a string", int: "a whole number", bool: "true or false", dict: "a map", list: "a list"}
