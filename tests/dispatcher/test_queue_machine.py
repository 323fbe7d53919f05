"""Machines, beacons, operators, restarts and time against the queue, in any order."""

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from dispatchd.services.dispatcher.unit import Policy
from tests.dispatcher.play.people import People
from tests.dispatcher.play.reference import Known
from tests.dispatcher.play.troubles import Troubles


class QueueMachine(People, Troubles):
    """Everything at once, on two releases."""

    @initialize(
        tries=st.integers(1, 2),
        failures=st.booleans(),
        only_known=st.sampled_from([False, False, False, True]),
    )
    def load(self, tries: int, failures: bool, only_known: bool) -> None:
        self.lab.policy = Policy(max_tries=tries, report_failures=failures, only_known=only_known)
        self.ids = self.lab.load("a.efi", "b.efi", "c.efi")
        self.ids += self.lab.load("d.efi", "e.efi", pools=("", "old"), filing=False)
        if only_known:
            self._introduce("aa:00:00:00:00:01")
            self._introduce("epyc")

    def _introduce(self, word: str) -> None:
        """A person makes a machine known."""
        machine_id = self.lab.operator.change_machine(
            word, name=None, pool=None, note=None, simulated=None, by="alice"
        )
        known = Known()
        self.reference.met(known, machine_id)
        if ":" in word:
            self.reference.macs[word] = known
        else:
            self.reference.rename(known, word)


TestQueueMachine = QueueMachine.TestCase
