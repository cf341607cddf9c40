"""The card for people says what the card for machines says."""

from pathlib import Path

from mcdrop.model_card import markdown
from mcdrop.repository import read_card
from tests.models import save_random_classifier


def test_training_writes_a_card_for_people(digits_model: Path) -> None:
    card, text = read_card(digits_model), (digits_model / "CARD.md").read_text(encoding="utf-8")
    assert text == markdown(card)
    for heading in ("Data", "Scores", "Calibration", "Limits", "How to cite", "Recipe"):
        assert f"\n## {heading}\n" in text
    for part, rows in card.rows.items():
        assert f"| {part} | {rows:,} |" in text
    for note in card.calibration.notes:
        assert note in text
    low, high = card.intervals["served"]["nll"]
    assert f"{card.metrics['served']['nll']:.4g} [{low:.4g}, {high:.4g}]" in text
    assert card.weights_sha256 in text


def test_intervals_hold_their_scores(digits_model: Path) -> None:
    card = read_card(digits_model)
    for answer, scores in card.metrics.items():
        for name, value in scores.items():
            low, high = card.intervals[answer][name]
            assert low <= value <= high


def test_a_card_without_intervals_or_promises_is_described_too(tmp_path: Path) -> None:
    text = markdown(read_card(save_random_classifier(tmp_path)))
    assert "| accuracy | 0.1 |" in text
    assert "Abstention" not in text


def test_names_cannot_break_a_table(tmp_path: Path) -> None:
    folder = save_random_classifier(tmp_path, fields={"classes": ("a|b", "c\nd", *"23456789")})
    line = next(x for x in markdown(read_card(folder)).splitlines() if x.startswith("| task"))
    assert "a\\|b" in line
    assert line.replace("\\|", "").count("|") == 3
