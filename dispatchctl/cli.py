"""What every command shares: the group, --socket and --json, and how failures are said."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from dispatchctl.client import Client, Failure, find_socket


@dataclass(slots=True)
class Session:
    """One run of dispatchctl: whom it asks, and whether it prints JSON."""

    socket: str | None = None
    as_json: bool = False

    @property
    def client(self) -> Client:
        return Client(find_socket(self.socket))

    def show(self, answer: msgspec.Struct, text: Callable[[], str]) -> None:
        """Print the answer as JSON, or what ``text`` makes of it."""
        if self.as_json:
            click.echo(msgspec.json.encode(answer).decode())
        else:
            said = text()
            if said:
                click.echo(said)


def _take_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).as_json = True


json_option = click.option(
    "--json", is_flag=True, expose_value=False, callback=_take_json, help="Print JSON."
)
pass_session = click.make_pass_decorator(Session, ensure=True)


class Commands(click.Group):
    """Sorted by what people do first; every command takes --json, before or after its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def command(  # type: ignore[override]
        self, name: str | None = None
    ) -> Callable[[Callable[..., Any]], click.Command]:
        add = super().command(name)

        def decorate(function: Callable[..., Any]) -> click.Command:
            return add(json_option(function))

        return decorate

    def group(  # type: ignore[override]
        self, name: str | None = None
    ) -> Callable[[Callable[..., Any]], click.Group]:
        add = super().group(name, cls=Commands, invoke_without_command=True)

        def decorate(function: Callable[..., Any]) -> click.Group:
            return add(json_option(function))

        return decorate


@click.group(cls=Commands, invoke_without_command=True)
@click.option("--socket", metavar="PATH", help="The control socket of dispatchd.")
@json_option
@click.version_option(package_name="dispatchd", prog_name="dispatchctl")
@click.pass_context
def dispatchctl(context: click.Context, socket: str | None) -> None:
    """Operate dispatchd: load releases, watch machines run them, see what was reported."""
    session = context.ensure_object(Session)
    session.socket = socket
    if context.invoked_subcommand is None:
        context.invoke(context.command.commands["status"])  # type: ignore[attr-defined]


def run() -> None:
    """Run the command line; exits 0 done, 1 refused, 2 usage, 3 daemon unreachable."""
    try:
        dispatchctl.main(standalone_mode=False)
    except Failure as failure:
        _complain(str(failure), failure.hint)
        sys.exit(failure.status)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "dispatchctl"
        message = error.format_message().rstrip(".")
        _complain(message[:1].lower() + message[1:], f"{command} --help")
        sys.exit(2)
    except click.ClickException as error:
        _complain(error.format_message(), "")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


def _complain(message: str, hint: str) -> None:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
