"""`machines`: who boots from us, and what people know about them."""

import click

from dispatchctl import render
from dispatchctl.cli import Session, dispatchctl, pass_session
from dispatchctl.client import Misused, segment
from dispatchd import wire


@dispatchctl.group()
@click.pass_context
def machines(context: click.Context) -> None:
    """List machines; set what is known of them."""
    if context.invoked_subcommand is None:
        _list(context.ensure_object(Session))


def _list(session: Session) -> None:
    session.tell("/v1/machines", wire.Machines, _table)


def _table(answer: wire.Machines) -> str:
    if not answer.machines:
        return (
            "No machine has asked yet: set one to UEFI HTTP boot (dispatchctl status has the URL)"
        )
    rows = [
        (
            machine.label,
            machine.pool or "-",
            "address (weak)" if machine.known_by == "address" else machine.known_by,
            " ".join([*machine.macs, *machine.addresses[:2]]) or "-",
            render.ago(machine.seen),
            _doing(machine),
            machine.note,
        )
        for machine in answer.machines
    ]
    header = ("Machine", "Pool", "Known by", "MAC, address", "Seen", "Doing", "Note")
    return render.table(rows, header)


def _doing(machine: wire.Machine) -> str:
    if machine.held:
        return f"held: {machine.held}"
    if machine.paused:
        return "paused"
    if machine.workload and machine.state:
        return f"{render.state(machine.state)} {machine.workload}"
    return f"was handed {machine.handed}" if machine.handed else "-"


@machines.command("set")
@click.argument("machine")
@click.argument("values", metavar="KEY=VALUE…", nargs=-1, required=True)
@pass_session
def set_(session: Session, machine: str, values: tuple[str, ...]) -> None:
    """Set pool= or note= of a machine (an unknown name or MAC makes a new one)."""
    known: dict[str, str] = {}
    for value in values:
        key, equals, word = value.partition("=")
        if key not in ("pool", "note", "name") or not equals:
            raise Misused(f"cannot set {value!r}", hint="pool=POOL, note=TEXT or name=NAME")
        known[key] = word
    change = wire.MachineChange(
        name=known.get("name"), pool=known.get("pool"), note=known.get("note")
    )
    _change(session, machine, change)


@machines.command("name")
@click.argument("mac")
@click.argument("name")
@pass_session
def name_(session: Session, mac: str, name: str) -> None:
    """Give the machine with this MAC (or id, or address) a name."""
    _change(session, mac, wire.MachineChange(name=name))


@machines.command()
@click.argument("machine")
@pass_session
def forget(session: Session, machine: str) -> None:
    """Forget a machine and how it is recognised."""
    answer = session.client.send("DELETE", f"/v1/machines/{segment(machine)}", None, wire.Empty)
    session.show(answer, lambda: f"{machine}: forgotten")


def _change(session: Session, machine: str, change: wire.MachineChange) -> None:
    answer = session.client.send("PUT", f"/v1/machines/{segment(machine)}", change, wire.Machine)
    session.show(
        answer,
        lambda: (
            f"{answer.label}: pool {answer.pool or '-'}"
            + (f", note {answer.note}" if answer.note else "")
        ),
    )
