import os
import signal
import threading
import time

import pytest

from study.stop import SIGNALS, ClusterLost, Stop


def test_where_nobody_asks_a_signal_stops_at_once_and_only_once() -> None:
    with Stop() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)  # while all is put away
        os.kill(os.getpid(), signal.SIGHUP)
    assert stop.signal == signal.SIGTERM


def test_where_somebody_asks_the_first_signal_is_an_answer() -> None:
    stop, answers = Stop(), []

    def loop() -> None:
        with stop.polled():
            answers.append(stop.due())
            os.kill(os.getpid(), signal.SIGHUP)
            answers.append(stop.due())

    with stop, pytest.raises(KeyboardInterrupt):
        loop()
    assert answers == [False, True]
    assert stop.signal == signal.SIGHUP


def test_a_second_signal_does_not_wait_for_an_answer() -> None:
    stop, after = Stop(), []

    def loop() -> None:
        with stop.polled():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                after.append(stop.due())

    with stop, pytest.raises(KeyboardInterrupt):
        loop()
    assert after == [True]


@pytest.mark.parametrize("number", SIGNALS)
def test_what_was_ignored_stays_ignored_and_what_was_there_comes_back(number: signal.Signals) -> None:
    """As under nohup, and in the background of a script."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), number)
            assert stop.signal is None
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)
    with Stop():
        assert signal.getsignal(number) != before
    assert signal.getsignal(number) == before


def test_a_library_that_takes_a_signal_is_overruled() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop.listen()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_may_run_a_study_without_signals() -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with Stop() as stop:
                assert not stop.due()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failures == []


def test_time_storage_and_cluster_end_a_run() -> None:
    assert Stop(time.monotonic() - 1).due()
    later = Stop(time.monotonic() + 1000)
    assert not later.due()
    assert not later.out_of_time
    later.refused = "no space"
    assert later.due()
    later.lost = "the head died"
    with pytest.raises(ClusterLost, match="the head died"):
        later.due()
