import os
import signal
import threading

import pytest

from bigr_cli.training.config import RunConfig
from bigr_cli.training.stopping import Pace, interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")


def test_the_first_is_noted_and_the_second_stops() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts() as received:
        os.kill(os.getpid(), signal.SIGINT)
        assert received == [signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_launcher_may_repeat_its_request() -> None:
    with interrupts() as received:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), each)
    assert received == [signal.SIGINT, signal.SIGTERM, signal.SIGTERM]


def test_other_threads_leave_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def run() -> None:
        with interrupts() as received:
            seen.append((signal.getsignal(signal.SIGINT), received))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(before, [])]


def test_a_closed_terminal_saves_unless_nohup_has_it_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with interrupts() as received:
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == [signal.SIGHUP]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with interrupts() as received:
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_pace_changes_nothing_while_the_plan_holds_and_ends_in_time_when_it_does_not() -> None:
    now, seen = [0.0], list[int | None]()
    pace = Pace(1000.0, checkpointed=lambda spent, steps: seen.append(steps), clock=lambda: now[0])
    run = RunConfig(steps=1000)
    for step in range(100, 500, 100):  # a second for a step, as planned
        now[0] += 103
        assert pace.steps(step, run) == 1000
    now[0] += 300  # slower from here on
    steps = pace.steps(500, run)
    assert 500 < steps < 800
    assert seen == [None] * 4 + [steps]
    assert Pace(10.0, spent=50.0, checkpointed=lambda spent, steps: None, clock=lambda: 0.0).steps(5, run) == 1000
