"""Parts that a parameter file asks for by name: what each takes, and what makes it.

The parameters of a part are declared where parameter files are checked, which must not import PyTorch; what builds it
is implemented where it is used. A file of ``extensions/`` does both at once.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from reid.core.errors import ReidError

T = TypeVar("T")


class Registry:
    """Names of one kind of part.

    Args:
        kind: what the parts are, for messages: ``"loss"``, ``"backbone"``, ...

    Attributes:
        base: class that the parameters of a part must be made of.
        reserved: of parts that are keys of a section: what else stands there, or beside them in results.
        version: grows with every new name; what was made of the registry is out of date when it differs.
    """

    def __init__(self, kind: str) -> None:
        self.kind, self.version = kind, 0
        self.base: type = object
        self.reserved: set[str] = set()
        self._params: dict[str, type] = {}
        self._builders: dict[str, Callable[..., Any]] = {}

    def declare(self, name: str, after: str | None = None) -> Callable[[type[T]], type[T]]:
        """Class decorator: the parameters of the part ``name``.

        Args:
            name: as a parameter file writes it.
            after: name of the part that it follows, where the order says what comes first; the last by default.

        Raises:
            ReidError: the name is taken or none, the class is not made of :attr:`base`, or there is no part ``after``.
        """

        def add(params: type[T]) -> type[T]:
            if self.reserved and (not name.isidentifier() or name.startswith("_")):
                raise ReidError(f"{self.kind} {name!r}: its name must be letters, digits and _, a letter first")
            if self.reserved and (name in self.reserved or hasattr(self.base, name)):
                raise ReidError(f"{self.kind} {name}: this name stands for something else; give it another")
            if name in self._params:
                raise ReidError(f"there is a {self.kind} {name} already, of {self._params[name].__module__}")
            if not issubclass(params, self.base):
                raise ReidError(f"{self.kind} {name}: its parameters must be a class made of {self.base.__name__}")
            if after is not None and after not in self._params:
                raise ReidError(f"{self.kind} {name}: comes after {after}, which there is not: {', '.join(self)}")
            items = list(self._params.items())
            place = len(items) if after is None else list(self._params).index(after) + 1
            items.insert(place, (name, params))
            self._params = dict(items)
            self.version += 1
            return params

        return add

    def implement(self, name: str) -> Callable[[T], T]:
        """Decorator of the class or function that builds the part ``name``."""

        def add(builder: T) -> T:
            if name not in self._params:
                raise ReidError(f"{self.kind} {name}: is implemented, but its parameters are not declared")
            if name in self._builders:
                raise ReidError(f"{self.kind} {name}: is implemented already, by {self._builders[name].__module__}")
            assert callable(builder)
            self._builders[name] = builder
            return builder

        return add

    def register(self, name: str, params: type, after: str | None = None) -> Callable[[T], T]:
        """Decorator: :meth:`declare` and :meth:`implement` in one, for extensions.

        Args:
            name: as a parameter file writes it.
            params: class of the part's parameters, a :class:`reid.params.Section`.
            after: as for :meth:`declare`.
        """

        def add(builder: T) -> T:
            self.declare(name, after)(params)
            return self.implement(name)(builder)

        return add

    def params(self, name: str) -> type:
        """Class of the parameters of a part."""
        return self._params[name]

    def builder(self, name: str) -> Callable[..., Any]:
        """What builds a part."""
        return self._builders[name]

    def position(self, name: str) -> int:
        """Place of a part in the order of application."""
        return list(self._params).index(name)

    def snapshot(self) -> tuple[dict[str, type], dict[str, Callable[..., Any]]]:
        """What :meth:`restore` needs to forget what came since."""
        return dict(self._params), dict(self._builders)

    def restore(self, state: tuple[dict[str, type], dict[str, Callable[..., Any]]]) -> None:
        """Stand where :meth:`snapshot` was taken."""
        if state[0] != self._params:
            self.version += 1
        self._params, self._builders = state

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __contains__(self, name: object) -> bool:
        return name in self._params
