"""The model repository: ``<root>/<name>/<version>/`` with weights and one JSON card.

    folders  which models and versions there are
    reading  a version's card, network, calibration rows and examples, checked against their hashes
    writing  a new version, all of it or nothing

Refuses to know HTTP and how a model is trained. Reading a card touches no weights; nothing here is
ever unpickled.
"""

from mcdrop.repository.folders import ModelEntry, checkpoint_path, list_models, locate, resolve
from mcdrop.repository.reading import load_examples, load_network, load_reference, read_card
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
