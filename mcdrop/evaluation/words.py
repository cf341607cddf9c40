"""What the numbers say, in sentences, and how a number is written.

Knows the numbers by name. Refuses to know how they were measured and where they are shown.
"""

import math

from mcdrop.evaluation.tree import Tree
from mcdrop.metrics import Estimate

__all__ = ["number", "verdicts", "written"]


def written(value: Estimate) -> str:
    """A score with its interval and its rows, for people."""
    if math.isnan(value.value):
        return f"– (n = {value.n:,})"
    ends = f"[{number(value.low)}, {number(value.high)}]"
    return f"{number(value.value)} {ends} (n = {value.n:,})"


def number(value: float) -> str:
    """To three digits after the point, or three significant ones where it is small or large."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    return f"{value:.4f}" if 1e-3 <= abs(value) < 100 or value == 0 else f"{value:.3g}"


def verdicts(tree: Tree) -> list[str]:
    """What a reader should know first; bad news included."""
    found = [_against_deterministic(tree)] if "ece" in tree["served"] else [_against_mean(tree)]
    found.append(_covers(tree["conformal"]))
    if "abstention" in tree:
        found.append(_abstains(tree["abstention"]))
    if "ood" in tree:
        auroc = tree["ood"]["auroc"]
        found.append(
            "By epistemic uncertainty, a row out of distribution ranks above one of the model's "
            f"own with probability {written(auroc)}."
        )
    return found


def _against_deterministic(tree: Tree) -> str:
    """Is the served answer better calibrated than the one without dropout? Plainly."""
    gaps: dict[str, Estimate] = tree["difference"]
    both = " and ".join(
        f"{key.upper()} {number(tree['served'][key].value)} against "
        f"{number(tree['deterministic'][key].value)}"
        for key in ("nll", "ece")
    )
    worse = [key.upper() for key in ("nll", "ece") if gaps[key].value > 0]
    proven = [key for key in ("nll", "ece") if gaps[key].low > 0]
    if not worse:
        return f"The served answer is better calibrated than the deterministic one: {both}."
    beyond = (
        "more than chance explains"
        if proven
        else "though not by more than chance explains (the interval of the difference holds 0)"
    )
    return (
        f"After correction the MC answer is worse calibrated than the deterministic one by "
        f"{' and '.join(worse)}, {beyond}: {both}."
    )


def _against_mean(tree: Tree) -> str:
    gaps: dict[str, Estimate] = tree["difference"]
    if len(gaps) > 1:
        each = {name.removeprefix("rmse_"): gap for name, gap in gaps.items() if name != "rmse"}
        larger = [name for name, gap in each.items() if gap.value > 0]
        return (
            f"Of {len(each)} targets, the error (RMSE) of the MC mean is larger than that of the "
            f"deterministic answer for {', '.join(larger) or 'none'}."
        )
    gap = gaps["rmse"]
    how = "no larger than" if gap.value <= 0 else "larger than"
    return (
        f"The error of the MC mean is {how} that of the deterministic answer: RMSE "
        f"{number(tree['served']['rmse'].value)} against "
        f"{number(tree['deterministic']['rmse'].value)}, difference {written(gap)}."
    )


def _covers(conformal: Tree) -> str:
    level, coverage, (low, high) = (conformal[key] for key in ("level", "coverage", "chance"))
    if coverage.value < low:
        end = "fewer than promised: these rows differ from the calibration rows"
    elif coverage.value > high:
        end = "more than promised"
    else:
        end = "as promised"
    return (
        f"Sets and intervals at level {level:g} hold the truth in {written(coverage)} of rows, "
        f"{end} ({number(low)} to {number(high)} would still be chance)."
    )


def _abstains(abstention: Tree) -> str:
    risk, answered, errors = (abstention[key] for key in ("risk", "answered", "error_rate"))
    if not answered.value:
        return f"Nothing is answered at a risk of {risk:g}: no threshold was proven to keep it."
    kept = "above" if errors.low > risk else "within"
    return (
        f"At a risk of {risk:g} the model answers {written(answered)} of rows and errs on "
        f"{written(errors)} of those, {kept} what it promised."
    )
