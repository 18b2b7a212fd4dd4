"""The help pages: which value an option takes is said in one word, and a flag takes none."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

Command = TypeVar("Command", bound=Callable[..., Any])


class App(typer.Typer):
    """A group of commands. Parameters say by `metavar` what they take; names of Python's types are left out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Command], Command]:
        return super().command(name, **{"cls": _Command} | options)


class _Command(TyperCommand):
    def __init__(self, *arguments: Any, help: str | None = None, **options: Any) -> None:  # noqa: A002 - Typer's name
        paragraphs = inspect.cleandoc(help or "").split("\n\n")  # lines of the source are none of the terminal
        super().__init__(*arguments, help="\n\n".join(" ".join(one.split()) for one in paragraphs), **options)

    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))


def _without_types(params: Any) -> Any:
    for param in params:
        is_option = param.param_type_name == "option"
        if not is_option or (param.metavar is None and param.is_flag):
            param.display_type_rich = lambda ctx: None  # noqa: ARG005 - as Typer calls it
    return params
