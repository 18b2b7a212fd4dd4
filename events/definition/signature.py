"""The parameters of a callable, and the types that their annotations stand for."""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from events.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter. `choices`: the types that its annotation allows, NoneType among them; empty without annotation."""

    name: str
    kind: Any
    default: Any
    hint: Any
    choices: tuple[Any, ...]

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def is_various(self) -> bool:
        """Whether it is `*args` or `**kwargs`."""
        return self.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

    @property
    def is_positional_only(self) -> bool:
        return self.kind is inspect.Parameter.POSITIONAL_ONLY


def parameters_of(call: Callable[..., Any], what: str) -> list[Parameter]:
    """The parameters of a function, a method, a partial, a class, or an object with `__call__`.

    Raises:
        DefinitionError: an annotation can't be resolved, or the parameters can't be known. It begins with `what`.
    """
    try:
        hints = typing.get_type_hints(inner(call))
        if isinstance(call, type):
            hints |= typing.get_type_hints(getattr(call, "__init__"))  # noqa: B009 - mypy minds it by a dot
    except Exception as error:
        raise DefinitionError(
            f"{what}: its annotations can't be resolved ({error}); "
            f"import the types at module level, outside `if TYPE_CHECKING`"
        ) from error
    try:
        parameters = inspect.signature(call).parameters.values()
    except (ValueError, TypeError):  # compiled
        raise DefinitionError(f"{what} says nothing of its parameters; write a function that calls it") from None
    return [
        Parameter(one.name, one.kind, one.default, hint := hints.get(one.name), tuple(choices(hint)) if hint else ())
        for one in parameters
    ]


def check_call(call: Callable[..., Any], names: Iterable[str], what: str) -> None:
    """Raises DefinitionError unless it accepts these keywords: decorators may show a signature that they lack."""
    try:
        inspect.signature(call, follow_wrapped=False).bind(**dict.fromkeys(names))
    except ValueError:  # compiled code without a signature
        return
    except TypeError as error:
        raise DefinitionError(
            f"{what}: a decorator around it can't be called as the function within it ({error}); "
            f"let its wrapper take and hand on *args and **kwargs"
        ) from None


def inner(call: Any) -> Any:
    """The function whose annotations count, and whose body runs."""
    while isinstance(call, functools.partial):
        call = call.func
    if inspect.isroutine(call) or isinstance(call, type) or hasattr(call, "__wrapped__"):
        return call
    return getattr(call, "__call__", call)  # noqa: B004 - as it is written in its class


def choices(hint: Any) -> Iterable[Any]:
    """The types that an annotation stands for: through unions, Annotated, aliases, NewType and type variables."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield from choices(typing.get_args(hint)[0])
    elif origin in (typing.Union, types.UnionType):
        for one in typing.get_args(hint):
            yield from choices(one)
    elif isinstance(hint, typing.TypeVar):
        for one in hint.__constraints__ or (hint.__bound__,):
            yield from choices(one)
    elif isinstance(hint, typing.NewType):
        yield from choices(hint.__supertype__)
    elif type(hint).__name__ == "TypeAliasType":  # `type X = ...`
        yield from choices(hint.__value__)
    else:
        yield hint
