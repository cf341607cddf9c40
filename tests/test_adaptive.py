"""Coverage stays within the theorem's bound, whatever the data do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcdrop import conformal
from mcdrop.adaptive import AdaptiveLevel
from mcdrop.errors import InputError


def test_one_step_by_hand() -> None:
    start = AdaptiveLevel(0.9, step=0.05)
    assert start.level == pytest.approx(0.9)
    assert start.update(1.0).level == pytest.approx(0.945)
    assert start.update(0.0).level == pytest.approx(0.895)
    assert start.update(1.0).update(0.0).coverage == 0.5


@given(
    target=st.floats(0.05, 0.95),
    step=st.floats(0.001, 0.3),
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=300),
)
def test_proposition_4_1_holds_for_any_sequence(
    target: float, step: float, scores: list[float]
) -> None:
    """An adversary picks the scores; the set is {score <= 1 - alpha}, empty or all at its ends."""
    state = AdaptiveLevel(target, step)
    for score in scores:
        missed = state.alpha >= 1 or (state.alpha > 0 and score > 1 - state.alpha)
        state = state.update(float(missed))
        assert -step - 1e-9 <= state.alpha <= 1 + step + 1e-9  # lemma 4.1
    assert abs(state.coverage - target) <= state.bound + 1e-9


def drifting(adapt: bool, rows: int = 4000) -> tuple[float, AdaptiveLevel]:
    """Coverage of intervals under a scale that grows threefold, and the state at the end."""
    rng = np.random.default_rng(7)
    calibration = np.abs(rng.normal(size=500))
    state = AdaptiveLevel(0.9, 0.02)
    covered = []
    for t in range(rows):
        level = state.level if adapt else 0.9
        limit = conformal.quantile(calibration, level)
        covered.append(abs(rng.normal()) * (1 + 2 * t / rows) <= limit)
        state = state.update(0.0 if covered[-1] else 1.0)
    return float(np.mean(covered)), state


def test_coverage_under_drift_is_kept_and_without_adapting_it_is_lost() -> None:
    plain, _ = drifting(adapt=False)
    kept, state = drifting(adapt=True)
    assert plain < 0.75
    assert kept == pytest.approx(state.coverage)
    assert state.bound < 0.012
    assert abs(kept - 0.9) <= state.bound


def test_sets_that_are_never_empty_do_not_run_away() -> None:
    """Every row covered, for ever: alpha ends beyond 1, and one miss brings it back below."""
    state = AdaptiveLevel(0.9, 0.1)
    for _ in range(10_000):
        state = state.update(0.0)
    assert 0 < state.level < 1e-6
    for _ in range(12):
        state = state.update(1.0)
    assert state.level > 0.5


@pytest.mark.parametrize("wrong", [{"target": 1.0}, {"target": 0.9, "step": 0.0}])
def test_what_is_no_rate_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="wanted both between 0 and 1"):
        AdaptiveLevel(**wrong)
    with pytest.raises(InputError, match="wanted a number between"):
        AdaptiveLevel(0.9).update(1.5)
