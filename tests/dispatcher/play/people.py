"""What people do: stop, run again, pause, load, unload, rename, forget, claim."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import rule

from dispatchd import wire
from dispatchd.domain.model import RUNNING, Arrival, Source, State, Workload
from dispatchd.errors import Conflict, NotFound, Refused
from dispatchd.services.dispatcher.beacons import Content
from dispatchd.services.dispatcher.unit import Unit
from dispatchd.services.loading import Loading
from dispatchd.services.sources import Found, FoundAsset
from tests.dispatcher.play.machines import Machines, servers
from tests.dispatcher.play.reference import Known

OVER = (State.FINISHED, State.FAILED)
which = st.integers(0, 9)
references = st.tuples(servers, st.sampled_from(["name", "mac", "address"]))


class People(Machines):
    """Operators. What is refused changes nothing, and is refused for a reason."""

    @rule(
        pick=which,
        cancel=st.sampled_from([False, False, True]),
        on=st.one_of(st.none(), st.none(), references),
    )
    def cancel_or_retry(self, pick: int, cancel: bool, on: tuple[int, str] | None) -> None:
        """Mostly what can be: what runs is stopped, what is over is run again."""
        states = (*RUNNING, State.REPORTED) if cancel else OVER
        fitting = [one for one in self.ids if self.lab.state(one) in states]
        before = self.lab.workload(fitting[pick % len(fitting)] if fitting else self.pick(pick))
        if cancel:
            self._cancel(before)
        else:
            self._retry(before, on)

    @rule(paused=st.sampled_from([False, False, True]), on=st.one_of(st.none(), references))
    def pause(self, paused: bool, on: tuple[int, str] | None) -> None:
        with self.lab.store.reading() as tx:
            # A queue that is paused is resumed the next time, or not much would happen.
            paused = paused and not tx.queue_paused_by()
        try:
            self.lab.operator.pause([self._word(on)] if on else [], paused=paused, by="alice")
        except NotFound:
            assert on is not None
            assert self._known(on) is None

    @rule(
        on=references,
        name=st.sampled_from([None, None, "genoa", "rome", "epyc"]),
        pool=st.sampled_from(["", "old", "old"]),
        forget=st.sampled_from([False, False, True]),
    )
    def manage(self, on: tuple[int, str], name: str | None, pool: str, forget: bool) -> None:
        known = self._known(on)
        if forget:
            self._forget(on, known)
        elif known is not None:
            try:
                self.lab.operator.change_machine(
                    self._word(on), name=name, pool=pool, note=None, simulated=None, by="alice"
                )
            except Conflict:
                assert self.reference.names[name or ""] is not known
            else:
                if name is not None:
                    self.reference.rename(known, name)

    @rule(
        pick=which,
        change=st.sampled_from(["none", "none", "other bytes", "gone", "unload"]),
        here=st.booleans(),
    )
    def load_again(self, pick: int, change: str, here: bool) -> None:
        """A release leaves, or is loaded once more: as it was, with other bytes, or less of it."""
        with self.lab.store.writing() as tx:
            chosen = tx.workloads.get(self.pick(pick))
            release = tx.releases.get(chosen.release_id)
            if change == "unload":
                if release.unloaded_at is None:
                    tx.releases.unload(release, self.lab.clock.now())
                return
            newest = {one.name: one for one in tx.assets.of_release(release.id)}
            pools = sorted({one.pool for one in tx.workloads.of_release(release.id)})
            old = newest[chosen.name]
            if change == "gone":
                del newest[chosen.name]
            elif change == "other bytes":
                newest[chosen.name] = replace(old, sha256=old.sha256[1:] + old.sha256[0])
            found = Found(
                source=Source.GITHUB,
                name=release.name,
                report_to="lab/images",
                assets=tuple(
                    FoundAsset(
                        name=one.name,
                        size=one.size,
                        sha256=one.sha256,
                        content_type=one.content_type,
                        media_type=one.media_type,
                    )
                    for one in newest.values()
                ),
            )
            answer = Loading(
                unit=Unit(tx=tx, now=self.lab.clock.now()),
                request=wire.LoadRequest(pools=pools, file=release.filing),
                found=found,
                tries=self.lab.policy.max_tries,
            ).write("alice")
            for asset in tx.assets.arriving() if here else []:
                tx.assets.update(asset.id, arrival=Arrival.WHOLE)
        known = set(self.ids)
        self.ids += [line.id for line in answer.workloads if line.id and line.id not in known]

    @rule(pick=which)
    def claim(self, pick: int) -> None:
        """A body that was nobody's is credited by hand, to the last attempt that was sent bytes."""
        with self.lab.store.reading() as tx:
            bodies = tx.unclaimed.all()
            workload_id = self.pick(pick)
            ran = [one for one in tx.attempts.of_workload(workload_id) if one.first_byte_at]
        if not bodies:
            return
        body, _ = bodies[pick % len(bodies)]
        try:
            self.lab.operator.claim(body.id, workload_id, by="alice")
        except Conflict:
            assert not ran
        else:
            self.accepted.add((ran[-1].id, Content(title=body.title).digest))
            self.refused.remove((body.title, body.received_at))

    def _cancel(self, before: Workload) -> None:
        try:
            self.lab.operator.cancel(before.id, by="alice")
        except Conflict:
            assert before.state in OVER
        else:
            assert self.lab.workload(before.id).reason == "cancelled by alice"

    def _retry(self, before: Workload, on: tuple[int, str] | None) -> None:
        try:
            self.lab.operator.retry(before.id, on=on and self._word(on), by="alice")
        except (Conflict, NotFound, Refused):
            assert self.lab.workload(before.id) == before
        else:
            assert before.state in OVER
            assert self.lab.state(before.id) is State.UNASSIGNED
            assert self.lab.workload(before.id).run == before.run + 1

    def _forget(self, on: tuple[int, str], known: Known | None) -> None:
        running = self.open_of(known)
        try:
            self.lab.operator.forget_machine(self._word(on), by="alice")
        except NotFound:
            assert known is None
        except Conflict:
            assert known is not None
            assert running is not None or known.id in self._wanted()
        else:
            assert known is not None
            assert known.id is not None
            assert known.id not in self._wanted()
            self.reference.forget(known)
            with self.lab.store.reading() as tx:
                if known.id not in {machine.id for machine in tx.machines.all()}:
                    del self.reference.ids[known.id]

    def _wanted(self) -> set[int | None]:
        """Machines for which workloads wait that may run nowhere else."""
        with self.lab.store.reading() as tx:
            waiting = [one for one in tx.workloads.shown() if one.state is State.UNASSIGNED]
        return {one.pinned_to for one in waiting}

    def _word(self, on: tuple[int, str]) -> str:
        server = self.servers[on[0]]
        return {"name": server.name, "mac": server.mac}.get(on[1]) or server.address

    def _known(self, on: tuple[int, str]) -> Known | None:
        word, reference = self._word(on), self.reference
        return (
            reference.names.get(word) or reference.macs.get(word) or reference.addresses.get(word)
        )
