import os
import signal
import threading

import pytest

from bigr_cli.training.interrupts import interrupts

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
