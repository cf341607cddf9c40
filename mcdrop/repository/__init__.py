"""The model repository: ``<root>/<name>/<version>/`` with weights and one JSON card.

    folders  which models and versions there are
    reading  a version's card, calibration rows and examples, checked against their hashes
    weights  a version's network, checked likewise
    writing  a new version, all of it or nothing

Refuses to know HTTP and how a model is trained. Reading a card touches no weights, and imports no
PyTorch: what handles weights is imported when it is first used. Nothing here is ever unpickled.
"""

from typing import TYPE_CHECKING

from mcdrop.later import importer
from mcdrop.repository.folders import ModelEntry, checkpoint_path, list_models, locate, resolve
from mcdrop.repository.reading import load_examples, load_reference, read_card

if TYPE_CHECKING:
    from mcdrop.repository.weights import load_network
    from mcdrop.repository.writing import Texts, prepare, save

__all__ = [
    "ModelEntry",
    "Texts",
    "checkpoint_path",
    "list_models",
    "load_examples",
    "load_network",
    "load_reference",
    "locate",
    "prepare",
    "read_card",
    "resolve",
    "save",
]

_WEIGHTS = {"load_network": "weights", "Texts": "writing", "prepare": "writing", "save": "writing"}
__getattr__ = importer(__name__, _WEIGHTS)
