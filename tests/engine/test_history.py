"""What is remembered for people is bounded, by function and in all."""

from corral.engine import history
from corral.engine.history import KEPT, ExitSeen, History
from corral.model import ExitCause, FunctionKey, InstanceId, Observation, RevisionId
from corral.roster import Decided

F = FunctionKey("default/f")


def decide(seen: History, key: FunctionKey, desired: int) -> None:
    seen.decided(key, Decided(RevisionId(f"{key}@1"), desired, 0, "because"), wall=float(desired))


def test_last_few_decisions_and_exits_are_kept() -> None:
    seen = History()
    for number in range(KEPT + 5):
        decide(seen, F, number)
        gone = ExitSeen(instance=InstanceId(f"i-{number}"), cause=ExitCause.STOPPED, detail="", at=0, memory_peak_mib=0)
        seen.exited(F, gone, cpu_s=0.5)
    assert [each.desired for each in seen.look(F).decisions] == list(range(5, KEPT + 5))
    assert seen.look(F).exits[-1].instance == f"i-{KEPT + 4}"
    assert len(seen.look(F).exits) == KEPT
    assert seen.look(F).totals.ended_cpu_s == 0.5 * (KEPT + 5)


def test_only_functions_with_news_keep_details_and_all_keep_their_sums() -> None:
    seen = History()
    keys = [FunctionKey(f"default/f-{number}") for number in range(history.DETAILED_MAX + 3)]
    for key in keys:
        seen.observed(key, Observation(arrived=2))
        decide(seen, key, 1)
        decide(seen, keys[0], 7)  # news again and again
    with_details = [key for key in keys if seen.look(key).decisions]
    assert len(with_details) == history.DETAILED_MAX
    assert with_details == [keys[0], *keys[4:]]
    assert all(seen.look(key).totals.arrived == 2 for key in keys)


def test_reading_makes_nothing_and_forgetting_leaves_nothing() -> None:
    seen = History()
    assert seen.look(F).decisions == ()
    assert seen.functions() == []
    decide(seen, F, 1)
    seen.forget(F)
    assert seen.functions() == []
    for number in range(history.DETAILED_MAX + 1):
        decide(seen, FunctionKey(f"default/f-{number}"), 1)
    assert F not in seen.functions()
