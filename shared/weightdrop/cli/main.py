"""The command group, and how errors become exit statuses."""

from __future__ import annotations

import importlib
import signal
import sys
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem

import weightdrop
from weightdrop.errors import (
    NotFoundError,
    TransientError,
    UsageError,
    WeightdropError,
)

DONE, NO, WRONG = 0, 1, 2
"""Exit statuses: done; the answer is no; the call was wrong or cannot be read."""


@dataclass(frozen=True, slots=True)
class _Entry:
    module: str
    help: str


_COMMANDS = {
    "demo": _Entry("demo", "Drop a small model and watch it become an endpoint."),
    "up": _Entry("stack", "Run the local stack until Ctrl-C."),
    "check": _Entry("inspecting", "Say whether a model folder can be served."),
    "plan": _Entry("planning", "Say which machine would serve it, and why."),
    "drop": _Entry("dropping", "Copy a model folder into a watched bucket."),
    "status": _Entry("watching", "Show deployments, or one in full."),
    "events": _Entry("telling", "Show what was told to the world."),
    "ask": _Entry("asking", "Send a prompt to a deployment."),
    "retry": _Entry("steering", "Try a failed or undeployed drop again."),
    "rollback": _Entry("steering", "Go back to the revision before."),
    "promote": _Entry("steering", "Give the canary all traffic."),
    "undeploy": _Entry("steering", "Take a deployment down; its files stay."),
    "dead-letters": _Entry("dead_letters", "Show what could not be handled."),
    "completion": _Entry("completing", "Have a shell complete all of this."),
}


_MEANT = {
    "deploy": "drop",
    "serve": "up",
    "start": "up",
    "list": "status",
    "ls": "status",
    "get": "status",
    "describe": "status",
    "predict": "ask",
    "chat": "ask",
    "delete": "undeploy",
    "rm": "undeploy",
    "stop": "undeploy",
}
"""Our commands for what other programs call by another name."""


class _LazyGroup(click.Group):
    """Knows its commands by name and loads one only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which one meets them."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command `cmd_name`."""
        del ctx
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"weightdrop.cli.{entry.module}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may be meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            name = error.command_name
            message = None
            if meant := _MEANT.get(name):
                message = f"No such command {name!r}. Did you mean {meant!r}?"
            raise click.exceptions.NoSuchCommand(
                name, message, possibilities=() if meant else _COMMANDS, ctx=ctx
            ) from None

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[CompletionItem]:
        """The commands that begin so, without loading them."""
        named = [
            CompletionItem(name, help=entry.help)
            for name, entry in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, entry.help) for name, entry in _COMMANDS.items()]
            )


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(weightdrop.__version__, prog_name="weightdrop")
def cli() -> None:
    """Turn a bucket into a deployment button.

    Copy a Hugging Face model folder into a watched bucket and get a vLLM
    endpoint. `weightdrop up` runs all of it on this machine.
    """


def _status_of(error: WeightdropError) -> int:
    wrong = (UsageError, NotFoundError, TransientError)
    return WRONG if isinstance(error, wrong) else NO


def run(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; those of the process by default.

    Returns:
        The exit status.
    """
    try:
        result = cli.main(args=arguments, prog_name="weightdrop", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return 128 + signal.SIGINT
    except click.ClickException as error:
        error.show()
        return WRONG
    except WeightdropError as error:
        _complain(str(error))
        return _status_of(error)
    except SystemExit:
        # In this mode click only exits when whoever reads us has seen enough.
        return DONE
    return result if isinstance(result, int) else DONE


def _complain(message: str) -> None:
    from weightdrop.cli.terminal import clean  # noqa: PLC0415  # --help does without

    click.echo(f"weightdrop: {clean(message, lines=True)}", err=True)


def main() -> None:
    """The console script."""
    sys.exit(run())
