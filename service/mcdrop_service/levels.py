"""The level of jobs that name none, where it follows the misses of late.

Knows which jobs get it. Refuses to know how it moves (`mcdrop.adaptive`) and where it is kept.
"""

import logging
from dataclasses import replace

from mcdrop.errors import McdropError
from mcdrop_service.feedback import ADAPTED, Ledger
from mcdrop_service.job import Job

__all__ = ["AdaptiveLevels"]

_log = logging.getLogger(__name__)


class AdaptiveLevels:
    """Gives a job the level that keeps coverage; workers prepare jobs by it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __call__(self, job: Job) -> Job:
        """The job with its level; as it is where it has one, or where none can be looked up."""
        if job.ask.level is not None:
            return job
        card = job.predictor.card
        try:
            level = self.ledger.level(card.name, card.version, card.recipe.calibration.level)
        except McdropError as error:
            _log.error("a level cannot be adapted: %s", error)
            return job
        extra = {**job.ask.extra, ADAPTED: True}
        return replace(job, ask=job.ask.with_(level=level, extra=extra))
