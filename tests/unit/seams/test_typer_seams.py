"""What of Typer we lean on beyond its documentation."""

import typer
import typer.core
import typer.rich_utils

from events.cli.help_pages import App
from support.seam_checks import Library

TYPER = Library("typer")


def test_a_help_page_asks_each_option_for_its_type() -> None:
    leans = "help pages, which name no types of Python"
    for kind in (typer.core.TyperCommand, typer.core.TyperGroup):
        TYPER.takes(kind, "get_params", ["ctx"], leans)
    TYPER.takes(typer.core.TyperOption, "display_type_rich", ["ctx"], leans)
    asks = "display_type_str = param.display_type_rich(ctx=ctx) if display_type_str is not None:"
    TYPER.says(typer.rich_utils, asks, leans=leans)
    # Given a command of ours with an option
    app = App()

    @app.command()
    def hear(loud: bool = False) -> None:
        """Hear."""

    command = typer.main.get_command(app)
    # When its parameters are asked for, then its flag has no type to show
    context = typer.Context(command)
    (option, *_) = command.get_params(context)
    TYPER.keeps(option.param_type_name == "option", "an option says that it is one", leans)
    assert option.display_type_rich(ctx=context) is None
