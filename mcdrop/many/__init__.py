"""Many networks of one shape trained as one; see `Many` and `fit_many`."""

from mcdrop.many.fitting import fit_many
from mcdrop.many.stack import Many

__all__ = ["Many", "fit_many"]
