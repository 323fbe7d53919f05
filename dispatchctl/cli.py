"""What every command shares: the group, --socket and --json, and how failures are said."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import click
import msgspec

from dispatchctl.client import Client, Failure, find_socket

T = TypeVar("T", bound=msgspec.Struct)

#: The commands of each module, in the order in which people come to need them.
MODULES = {
    "status": ("status", "show"),
    "history": ("events",),
    "loading": ("load", "unload", "releases"),
    "queue": ("retry", "cancel", "pause", "resume"),
    "machines": ("machines",),
    "reports": ("reports", "login"),
    "simulate": ("simulate",),
    "cache": ("cache",),
    "backup": ("backup",),
}


class Session(msgspec.Struct, kw_only=True):
    """One run of dispatchctl: whom it asks, and whether it prints JSON."""

    socket: str | None = None
    as_json: bool = False

    @property
    def client(self) -> Client:
        return Client(find_socket(self.socket))

    def tell(self, path: str, shape: type[T], text: Callable[[T], str]) -> None:
        """Ask the daemon and print the answer: as JSON, or what ``text`` makes of it."""
        answer = self.client.get(path, shape)
        self.show(answer, lambda: text(answer))

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
    """In the order in which they are defined; every command takes --json, before or after its
    name."""

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


class Modules(Commands):
    """Imports a module when one of its commands is asked for: `status` needs few of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in MODULES.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for module, names in MODULES.items():
            if cmd_name in names:
                import_module(f"dispatchctl.{module}")
        return super().get_command(ctx, cmd_name)


@click.group(cls=Modules, invoke_without_command=True)
@click.option("--socket", metavar="PATH", help="The control socket of dispatchd.")
@json_option
@click.version_option(package_name="dispatchd", prog_name="dispatchctl")
@click.pass_context
def dispatchctl(context: click.Context, socket: str | None) -> None:
    """Operate dispatchd: load releases, watch machines run them, see what was reported."""
    session = context.ensure_object(Session)
    session.socket = socket
    if context.invoked_subcommand is None:
        status = dispatchctl.get_command(context, "status")
        assert status is not None  # noqa: S101 - it is one of MODULES
        context.invoke(status)


def run() -> int:
    """Run the command line; returns 0 done, 1 refused, 2 usage, 3 daemon unreachable."""
    try:
        dispatchctl.main(standalone_mode=False)
    except Failure as failure:
        return _complain(str(failure), failure.hint, failure.status)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "dispatchctl"
        message = error.format_message().rstrip(".")
        return _complain(message[:1].lower() + message[1:], f"{command} --help", 2)
    except click.ClickException as error:
        return _complain(error.format_message(), "", 2)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        pass
    return 0


def _complain(message: str, hint: str, status: int) -> int:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return status
