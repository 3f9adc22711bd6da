"""The order of work, with a clock of its own."""

from hypothesis import given
from hypothesis import strategies as st

from qwen3_operator.controller.keys import Key
from qwen3_operator.controller.schedule import URGENT_IN_A_ROW, Schedule

A, B, C = (Key("finetune", "team-a", name) for name in "abc")


def test_a_burst_about_one_key_costs_one_run() -> None:
    schedule = Schedule()
    for _ in range(5):
        schedule.add(A, now=1.0)
    taken = schedule.take(now=3.0)
    assert taken is not None
    assert (taken.key, taken.waited) == (A, 2.0)
    assert schedule.take(now=3.0) is None


def test_a_key_added_while_it_runs_runs_again_and_never_twice_at_once() -> None:
    schedule = Schedule()
    schedule.add(A, now=0)
    schedule.take(now=0)
    schedule.add(A, now=1)
    assert schedule.take(now=1) is None
    schedule.finish(A, now=2, again_at=100)
    again = schedule.take(now=2)
    assert again is not None
    assert again.key == A
    schedule.finish(A, now=3)
    assert schedule.next_due() is None, "the delay of the overtaken run must not remain"


def test_first_come_first_served() -> None:
    schedule = Schedule()
    for key in (B, A, C):
        schedule.add(key, now=0)
    assert [schedule.take(now=0).key for _ in range(3)] == [B, A, C]  # type: ignore[union-attr]


def test_urgent_keys_come_first_and_urgency_rises_while_waiting() -> None:
    schedule = Schedule()
    schedule.add(A, now=0)
    schedule.add(B, now=0)
    schedule.add(B, now=1, urgent=True)
    first = schedule.take(now=2)
    assert first is not None
    assert (first.key, first.urgent, first.waited) == (B, True, 2.0)


def test_urgency_asked_for_during_a_run_is_kept() -> None:
    schedule = Schedule()
    schedule.add(A, now=0)
    schedule.take(now=0)
    schedule.add(A, now=1, urgent=True)
    schedule.add(A, now=1)
    schedule.add(B, now=1)
    schedule.finish(A, now=2)
    taken = schedule.take(now=2)
    assert taken is not None
    assert taken.key == A


def test_urgent_keys_cannot_starve_the_others() -> None:
    schedule = Schedule()
    schedule.add(A, now=0)
    for number in range(3 * URGENT_IN_A_ROW):
        schedule.add(Key("finetune", "team-a", f"new-{number}"), now=0, urgent=True)
    order = [schedule.take(now=0).key for _ in range(URGENT_IN_A_ROW + 1)]  # type: ignore[union-attr]
    assert order[-1] == A


def test_a_delayed_key_becomes_ready_at_its_time_and_waits_from_then() -> None:
    schedule = Schedule()
    schedule.add_at(A, when=10)
    assert schedule.take(now=9.9) is None
    assert schedule.next_due() == 10
    taken = schedule.take(now=12)
    assert taken is not None
    assert taken.waited == 2


def test_an_event_overtakes_a_delay() -> None:
    schedule = Schedule()
    schedule.add_at(A, when=300)
    schedule.add(A, now=1)
    assert schedule.take(now=1) is not None
    schedule.finish(A, now=2)
    assert (schedule.next_due(), schedule.delayed) == (None, 0)


def test_of_two_delays_the_earlier_counts() -> None:
    schedule = Schedule()
    schedule.add_at(A, when=50)
    schedule.add_at(A, when=20)
    schedule.add_at(A, when=90)
    assert schedule.next_due() == 20
    schedule.take(now=20)
    schedule.finish(A, now=21)
    assert schedule.take(now=100) is None


def test_finish_with_a_delay_comes_back_then() -> None:
    schedule = Schedule()
    schedule.add(A, now=0)
    schedule.take(now=0)
    schedule.finish(A, now=1, again_at=11)
    assert schedule.take(now=10) is None
    assert schedule.take(now=11) is not None


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "urgent", "delay", "take", "finish"]),
        st.sampled_from([A, B, C]),
        st.floats(0, 5),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_nothing_is_lost_and_nothing_runs_twice(operations: list[tuple[str, Key, float]]) -> None:
    schedule, now = Schedule(), 0.0
    running: set[Key] = set()
    owed: set[Key] = set()
    for what, key, step in operations:
        now += step
        match what:
            case "add" | "urgent":
                schedule.add(key, now, urgent=what == "urgent")
                owed.add(key)
            case "delay":
                schedule.add_at(key, now + step)
                if key not in running:
                    owed.add(key)
            case "take":
                taken = schedule.take(now)
                if taken is not None:
                    assert taken.key not in running
                    running.add(taken.key)
                    owed.discard(taken.key)
            case "finish":
                if key in running:
                    schedule.finish(key, now)
                    running.discard(key)
    for key in sorted(running):
        schedule.finish(key, now)
    drained = set()
    while (taken := schedule.take(now + 1000)) is not None:
        drained.add(taken.key)
    assert drained == owed
