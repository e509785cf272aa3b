"""`completion`, and what a shell is offered for an argument."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from weightdrop.cli.context import Where, find_target, status_client
from weightdrop.errors import WeightdropError

VARIABLE = "_WEIGHTDROP_COMPLETE"
"""Environment variable by which a shell asks the program itself."""

SHELLS = ("bash", "zsh", "fish")
_OFFERED = 100


def deployments(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The ids that begin so, each with its phase; none where nobody answers."""
    named = {name: ctx.params.get(name) or "" for name in ("url", "project", "region")}
    home = ctx.params.get("home")
    try:
        where = Where(home=Path(home) if home else None, **named)
        client = status_client(find_target(where))
        found = []
        for view in client.deployments(size=_OFFERED):
            if str(view["id"]).startswith(incomplete):
                found.append(CompletionItem(view["id"], help=str(view["phase"])))
            if len(found) == _OFFERED:
                break
    except WeightdropError:
        # A person who presses a key did not ask for an error.
        return []
    return found


def folders(
    _ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Folders, as the shell itself completes them."""
    return [CompletionItem(incomplete, type="dir")]


@click.command(short_help="Print what makes a shell complete our commands.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> int:
    """Print a script that makes SHELL complete commands, options and ids.

    \b
    bash:  source <(weightdrop completion bash)   in ~/.bashrc
    zsh:   source <(weightdrop completion zsh)    in ~/.zshrc, after compinit
    fish:  weightdrop completion fish | source    in config.fish
    """  # noqa: D301  # click wants the character itself: it keeps the lines as they are
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"Nothing is known of {shell}.")
    program = made(ctx.find_root().command, {}, "weightdrop", VARIABLE)
    click.echo(program.source())
    return 0
