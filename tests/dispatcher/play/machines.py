"""What machines do: firmware asks and downloads, beacons speak, notes of it are written late."""

from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dispatchd.domain.model import RUNNING, Attempt, State
from dispatchd.services.dispatcher.beacons import Content
from dispatchd.services.dispatcher.identity import Caller
from dispatchd.services.dispatcher.offers import Offer
from tests.dispatcher.play.handouts import Moment, ended_by_asking
from tests.dispatcher.play.promises import Promises
from tests.dispatcher.play.reference import Attempts, Known, Reference

#: Mostly the same two, so that they meet.
servers = st.sampled_from([0, 0, 0, 1, 1, 1, 2, 3])
ways = st.sampled_from(["usual"] * 5 + ["unnamed", "no mac seen", "other port"])
titles = st.sampled_from(["all well", "one fell over"])


@dataclass(kw_only=True, slots=True)
class Server:
    """A machine as it stands in the rack."""

    address: str
    mac: str = ""
    port: str = ""
    name: str = ""

    def caller(self, way: str) -> Caller:
        """How the wire shows it."""
        usual = Caller(name=self.name, mac=self.mac, address=self.address)
        return {
            "usual": usual,
            "unnamed": replace(usual, name=""),
            "no mac seen": replace(usual, mac=""),
            "other port": replace(usual, mac=self.port, address=f"{self.address}1"),
        }[way]


class Machines(Promises):
    """Four machines: one has a name, one no MAC; both may change."""

    def __init__(self) -> None:
        super().__init__()
        self.reference = Reference(self.lab.clock)
        self.servers = [
            Server(address="10.0.0.1", mac="aa:00:00:00:00:01", port="aa:00:00:00:01:01"),
            Server(address="10.0.0.2", mac="aa:00:00:00:00:02", port="aa:00:00:00:01:02"),
            Server(address="10.0.0.3"),
            Server(address="10.0.0.4", mac="aa:00:00:00:00:04", port="aa:00:00:00:01:04"),
        ]
        self.servers[1].name = "epyc"
        #: Attempts whose bytes go out, one for each connection.
        self.transfers: list[int] = []
        #: Attempts whose last byte is out, which may not be written down yet.
        self.whole_noted: set[int] = set()
        #: The wall clock was moved, and dispatchd restarted: ages may be wrong.
        self.confused = False

    @rule(number=servers, way=ways)
    def head(self, number: int, way: str) -> None:
        caller = self.request(number, way)
        known = self.reference.who_asks(caller, may_be_new=not self.lab.policy.only_known)
        self._ask(caller, known, by_head=True)

    @rule(number=servers, way=ways, sends=st.booleans())
    def get(self, number: int, way: str, sends: bool) -> None:
        caller = self.request(number, way)
        was_at = None if self.reference.tells_more(caller) else dict(self.reference.addresses)
        known = self.reference.who_asks(caller, may_be_new=not self.lab.policy.only_known)
        if known is not None and known.latest is not None and self._is_announced(known):
            if was_at is not None and not sends:
                # Where it is now is written down with the bytes that it is sent.
                self.reference.addresses = was_at
            offer = self.lab.asks.get(caller)
            assert _bytes(offer) == _bytes(known.latest.offer), (
                "a GET gives what its HEAD announced"
            )
        else:
            offer = self._ask(caller, known, by_head=False)
        if sends:
            self._send(caller, offer)

    @rule(number=servers, way=ways)
    def resume(self, number: int, way: str) -> None:
        caller = self.request(number, way)
        known = self.reference.who_asks(caller, may_be_new=False)
        running = self.open_of(known)
        offer = self.lab.asks.resume(caller)
        assert self.open_of(known) == running, "a GET with Range is no ask"
        if known is None or known.latest is None:
            assert offer.status == 404
        else:
            assert _bytes(offer) == _bytes(known.latest.offer)
            self._send(caller, offer)

    @rule(number=servers, way=ways)
    def download(self, number: int, way: str) -> None:
        """HEAD, GET and the last byte, as most of the time."""
        self.head(number, way)
        self.take_stock()
        before = len(self.transfers)
        self.get(number, way, sends=True)
        if len(self.transfers) > before:
            self.bytes_go(before, how="all")

    @rule(
        number=servers,
        times=st.integers(1, 3),
        speaks=st.sampled_from(["at once", "at once", "late", "never"]),
        seconds=st.sampled_from([0, 0, 70, 601]),
    )
    def reboot_without_a_report(self, number: int, times: int, speaks: str, seconds: int) -> None:
        for _ in range(times):
            self.download(number, "usual")
            if speaks == "at once":
                self.boot(number, "usual")
            self.last_bytes_are_written_down()
            self.spend(seconds)
            if speaks == "late":
                self.boot(number, "usual")
                self.take_stock()

    @rule(
        number=servers,
        way=ways,
        title=titles,
        seconds=st.sampled_from([0, 0, 601]),
        other=st.one_of(st.none(), servers),
    )
    def run_through(
        self, number: int, way: str, title: str, seconds: int, other: int | None
    ) -> None:
        """All of it; late, perhaps, and another machine may have the workload by then."""
        self.download(number, "usual")
        self.spend(seconds)
        if other is not None:
            self.download(other, "usual")
        self.boot(number, way)
        self.report(number, way, title)
        self.take_stock()

    @precondition(lambda self: self.transfers)
    @rule(pick=st.integers(0, 9), how=st.sampled_from(["some", "all", "none"]))
    def bytes_go(self, pick: int, how: str) -> None:
        """Bytes go out on a connection, or it ends. Its attempt may have ended long ago."""
        attempt_id = self.transfers[pick % len(self.transfers)]
        if how != "some":
            self.transfers.remove(attempt_id)
        if how == "none":
            return
        self.lab.phases.progress(attempt_id, 1000 if how == "all" else 500)
        watch = self.watches.get(attempt_id)
        if watch is not None and watch.phase == "downloading":
            watch.since = self.lab.clock.monotonic()
        if how == "all":
            self.lab.observations.whole(attempt_id)
            self.whole_noted.add(attempt_id)

    @rule(number=servers, way=ways)
    def boot(self, number: int, way: str) -> None:
        caller = self.request(number, way)
        meant = self.reference.whose(caller, self._attempts())
        if meant is None:
            assert not self.lab.beacons.boot(caller).workload
            return
        machine = self.reference.ids[meant.machine_id]
        running = self.open_of(machine)
        before = self.lab.workload(meant.workload_id)
        assert self.lab.beacons.boot(caller).workload == before.label
        self.reference.heard(machine, caller)
        after = self._attempts().get(meant.id)
        untaken = before.state in (State.UNASSIGNED, State.FAILED) and before.run == meant.run
        if meant.ended_at is None:
            assert after.state in (State.BOOTING, State.REPORTED)
        elif untaken and (running is None or running.first_byte_at is None):
            assert after.state is State.BOOTING, "a late boot takes its attempt up again"
            assert after.ended_at is None
            self.superseded |= {running.id} if running else set()
        else:
            assert after == meant
            assert self.lab.workload(before.id) == before

    @rule(number=servers, way=ways, title=titles)
    def report(self, number: int, way: str, title: str) -> None:
        caller = self.request(number, way)
        meant = self.reference.whose(caller, self._attempts())
        before = self.lab.workload(meant.workload_id) if meant else None
        taken = before is not None and before.state in RUNNING
        content = Content(title=title)
        said = self.lab.beacons.report(caller, content)
        if meant is None:
            assert not said.workload
            self.keep_unclaimed(caller, title)
            return
        assert before is not None
        assert said.workload == before.label
        self.reference.heard(self.reference.ids[meant.machine_id], caller)
        is_new = (meant.id, content.digest) not in self.accepted
        self.accepted.add((meant.id, content.digest))
        moves = before.run == meant.run and (meant.ended_at is None or not taken)
        moved = State.REPORTED if is_new and moves else before.state
        assert self.lab.state(before.id) is moved

    @rule(number=servers, address=st.integers(1, 5), name=st.sampled_from(["", "epyc", "rome"]))
    def move(self, number: int, address: int, name: str) -> None:
        """Another boot URL, and DHCP gives an address which may have been another machine's."""
        self.servers[number].address = f"10.0.0.{address}"
        self.servers[number].name = name

    @rule()
    def last_bytes_are_written_down(self) -> None:
        self.lab.observations.flush()
        self.whole_noted.clear()

    def request(self, number: int, way: str) -> Caller:
        """A request arrives: what went out before it is on disk by then, but for last bytes."""
        self.lab.observations.write()
        self.take_stock()
        return self.servers[number].caller(way)

    def open_of(self, known: Known | None) -> Attempt | None:
        """The machine's open attempt."""
        if known is None or known.id is None:
            return None
        with self.lab.store.reading() as tx:
            return tx.attempts.open_of_machine(known.id)

    def _ask(self, caller: Caller, known: Known | None, *, by_head: bool) -> Offer:
        """An ask, and whether it is answered as it must be."""
        asks = self.lab.asks
        running = self.open_of(known)
        self._note_what_it_shows(caller, known)
        offer = asks.head(caller) if by_head else asks.get(caller)
        if known is None:
            assert offer.status == 404
            return offer
        waits_since = known.waits_since
        self.reference.answered(known, offer, by_head=by_head)
        now = self.lab.clock.monotonic()
        if running is not None and not self.lab.draining:
            watch = self.watches[running.id]
            if running.id in self.whole_noted and watch.phase == "downloading":
                watch.phase, watch.since = "whole", now
            here = self.digest_of(running.workload_id) not in self.lab.missing
            outcome = ended_by_asking(watch, now, here=here)
            assert self._attempts().get(running.id).outcome is outcome
            if outcome is None:
                assert offer.attempt_id == running.id
                assert offer.sha256 == self.digest_of(running.workload_id)
                assert (offer.status, offer.size) == (200, 1000)
                watch.asks += 1
                watch.asks_since_whole += watch.phase == "whole"
                return offer
        waited = None if self.confused else now - (now if waits_since is None else waits_since)
        with self.lab.store.reading() as tx:
            assert known.id is not None
            Moment(
                lab=self.lab,
                machine=tx.machines.get(known.id),
                offer=offer,
                waited=waited,
                waiting={
                    one.id
                    for one in self.reference.ids.values()
                    if one is not known and one.waits_since is not None
                },
            ).check(tx)
        return offer

    def _note_what_it_shows(self, caller: Caller, known: Known | None) -> None:
        """A MAC that asks as another machine no longer runs what it was sent without a name."""
        sent = self.reference.was_sent(caller)
        if sent is not None and known is not None and not self.lab.draining:
            attempt = self._attempts().get(sent)
            nameless = not self.reference.ids[attempt.machine_id].name
            if attempt.ended_at is None and attempt.machine_id != known.id and nameless:
                self.superseded.add(sent)

    def _is_announced(self, known: Known) -> bool:
        announced = self.reference.is_announced(known)
        if announced is not None or known.id is None:
            return bool(announced)
        # Nobody can tell how long ago that was. Ask the dispatcher.
        with self.lab.store.reading() as tx:
            promise = tx.machines.promise(known.id)
        return (
            promise is not None
            and self.lab.context.ages.of("ask", known.id, promise.made_at) <= 120
        )

    def _send(self, caller: Caller, offer: Offer) -> None:
        """The first byte of the answer goes out, and a note of it is to be written."""
        if offer.status != 200 or offer.sha256 in self.lab.missing:
            return
        if offer.attempt_id is not None:
            self.lab.observations.first_byte(offer.attempt_id, caller)
            machine_id = self._attempts().get(offer.attempt_id).machine_id
            self.transfers.append(offer.attempt_id)
        else:
            assert offer.machine_id is not None
            self.lab.observations.program(offer.machine_id, caller)
            machine_id = offer.machine_id
        self.reference.sent(self.reference.ids[machine_id], caller, offer.attempt_id)
        self.lab.observations.write()

    def _attempts(self) -> Attempts:
        def get(attempt_id: int) -> Attempt:
            with self.lab.store.reading() as tx:
                return tx.attempts.get(attempt_id)

        def open_of(machine_id: int) -> Attempt | None:
            with self.lab.store.reading() as tx:
                return tx.attempts.open_of_machine(machine_id)

        return Attempts(get=get, open_of=open_of)

    def digest_of(self, workload_id: int) -> str:
        with self.lab.store.reading() as tx:
            return tx.assets.get(tx.workloads.get(workload_id).asset_id).sha256


def _bytes(offer: Offer) -> tuple[int, str, int, int | None]:
    return offer.status, offer.sha256, offer.size, offer.attempt_id
