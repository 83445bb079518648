from corral.bench.load import Sample
from corral.bench.update import Change, strangers

CHANGES = [
    Change(begun=1.0, done=2.0, version=1, is_rollback=False),
    Change(begun=3.0, done=4.0, version=1, is_rollback=True),
]


def answer(version: int, sent: float, done: float) -> Sample:
    return Sample(lane=0, intended=sent, sent=sent, done=done, status=200, body=b'{"version": %d}' % version)


def test_either_revision_may_answer_while_a_change_goes_on() -> None:
    assert strangers([answer(0, 1.5, 1.6), answer(1, 1.5, 1.6), answer(1, 3.5, 3.6), answer(0, 3.5, 3.6)], CHANGES) == 0


def test_after_an_update_only_its_code_answers() -> None:
    assert strangers([answer(1, 2.1, 2.2), answer(0, 2.1, 2.2)], CHANGES) == 1


def test_after_a_rollback_the_code_it_left_does_not_answer() -> None:
    assert strangers([answer(0, 4.1, 4.2), answer(1, 4.1, 4.2)], CHANGES) == 1


def test_a_call_that_meets_the_next_change_on_its_way_may_go_to_either() -> None:
    assert strangers([answer(0, 2.9, 3.1)], CHANGES) == 0


def test_before_the_first_change_nothing_is_said() -> None:
    assert strangers([answer(7, 0.1, 0.2)], CHANGES) == 0
