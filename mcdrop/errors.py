"""The one exception tree of mcdrop.

    McdropError
    ├── InputError          what the caller passed cannot be used (also a ValueError)
    │   ├── RecipeError     a recipe file or field
    │   └── DataError       a data file, column or value
    ├── NetworkError        a network whose randomness cannot be seen (also a TypeError)
    ├── TrainingError       training cannot go on (a loss that is not finite, say)
    ├── RepositoryError     a model that is absent, incomplete or altered on disk
    └── ServiceError        a server that did not answer, or would not

Every message says what came, what was wanted and how to mend it. Each exception takes that one
string, so it pickles. This module knows nothing of the rest of the library.
"""

__all__ = [
    "DataError",
    "InputError",
    "McdropError",
    "NetworkError",
    "RecipeError",
    "RepositoryError",
    "ServiceError",
    "TrainingError",
]


class McdropError(Exception):
    """Any error that mcdrop raises on purpose."""


class InputError(McdropError, ValueError):
    """What the caller passed cannot be used."""


class RecipeError(InputError):
    """A recipe that is malformed or contradicts itself."""


class DataError(InputError):
    """A data file, column or value that cannot be used."""


class NetworkError(McdropError, TypeError):
    """A network whose randomness or layout cannot be handled."""


class TrainingError(McdropError, RuntimeError):
    """Training cannot go on."""


class RepositoryError(McdropError, LookupError):
    """A model that is absent, incomplete or altered on disk."""


class ServiceError(McdropError, RuntimeError):
    """A server that did not answer, or would not."""
