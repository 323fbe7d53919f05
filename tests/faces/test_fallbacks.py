"""How long firmware's answers wait for a database that does not answer."""

from dispatchd.faces.fallbacks import BRIEF, WARNED, Waits
from dispatchd.services.dispatcher.asks import DATABASE_WAIT
from tests.dispatcher.lab import HandClock


def test_one_that_waited_long_in_vain_has_others_wait_briefly_for_a_while() -> None:
    clock = HandClock()
    waits = Waits(clock)
    assert waits.seconds() == DATABASE_WAIT
    waits.in_vain(DATABASE_WAIT)
    assert waits.seconds() == BRIEF
    clock.advance(WARNED)
    assert waits.seconds() == DATABASE_WAIT


def test_who_waited_briefly_is_no_warning() -> None:
    clock = HandClock()
    waits = Waits(clock)
    waits.in_vain(DATABASE_WAIT)
    clock.advance(WARNED / 2)
    waits.in_vain(BRIEF)
    clock.advance(WARNED / 2)
    assert waits.seconds() == DATABASE_WAIT
    waits.in_vain(BRIEF)
    assert waits.seconds() == DATABASE_WAIT
