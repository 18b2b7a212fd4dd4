"""The help pages: one word says which value an option takes; a flag takes none."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

Command = TypeVar("Command", bound=Callable[..., Any])


class App(typer.Typer):
    """A group of commands. The `metavar` of a parameter says what it takes; help pages leave out the Python type."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Command], Command]:
        return super().command(name, **{"cls": _Command} | options)


class _Command(TyperCommand):
    def __init__(self, *arguments: Any, help: str | None = None, **options: Any) -> None:  # noqa: A002 - Typer's name
        paragraphs = inspect.cleandoc(help or "").split("\n\n")  # the source breaks lines where the terminal wouldn't
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        super().__init__(*arguments, help=text, **options)

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
