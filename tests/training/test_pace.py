from bigr_cli.training.config import RunConfig
from bigr_cli.training.pace import Pace


def test_a_pace_changes_nothing_while_the_plan_holds_and_ends_in_time_when_it_does_not() -> None:
    now, seen = [0.0], list[int | None]()
    pace = Pace(1000.0, settled=lambda spent, steps: seen.append(steps), clock=lambda: now[0])
    run = RunConfig(steps=1000)
    for step in range(100, 500, 100):  # a second for a step, as planned
        now[0] += 103
        assert pace.steps(step, run) == 1000
    now[0] += 300  # slower from here on
    steps = pace.steps(500, run)
    assert 500 < steps < 800
    assert seen == [None] * 4 + [steps]
    assert Pace(10.0, spent=50.0, settled=lambda spent, steps: None, clock=lambda: 0.0).steps(5, run) == 1000
