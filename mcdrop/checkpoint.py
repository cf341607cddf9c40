"""Where a training stands, in one file that survives the process: safetensors with JSON beside.

Knows how tensors and facts are written at once and read back to the bit. Refuses to know what they
mean. Nothing is ever unpickled.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import safetensors
import safetensors.torch
from torch import Tensor

from mcdrop.errors import TrainingError

__all__ = ["finished_epochs", "read_checkpoint", "write_checkpoint"]

Facts = dict[str, Any]


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Facts) -> None:
    """Replace the file at ``path``; a reader sees the old one or the new one, whole.

    Of several trainings that share a path the last writer wins.

    Raises:
        TrainingError: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.{uuid4().hex}")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(safetensors.torch.save(plain, {"facts": json.dumps(facts)}))
        part.replace(path)
    except OSError as error:
        raise TrainingError(f"the checkpoint {path} cannot be written: {error}") from None


def read_checkpoint(path: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], Facts]:
    """The tensors and facts at ``path``, which must be of the training that ``identity`` says.

    Raises:
        TrainingError: the file is damaged, or its facts have another ``identity``.
    """
    try:
        content = path.read_bytes()
        facts, tensors = _facts(content), safetensors.torch.load(content)
    except (OSError, ValueError, KeyError, struct.error, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"the checkpoint {path} cannot be read: {error}; train without --resume"
        ) from None
    for name, value in identity.items():
        if facts["identity"].get(name) != value:
            raise TrainingError(
                f"the checkpoint {path} is of another training, its {name} differs: train without "
                "--resume to start anew"
            )
    return tensors, facts


def finished_epochs(path: Path) -> int:
    """Epochs that a training can go on after; 0 where there is no checkpoint to read."""
    try:
        return len(_facts(path.read_bytes())["history"])
    except (OSError, ValueError, KeyError, struct.error):
        return 0


def _facts(content: bytes) -> Facts:
    # The format: 8 bytes of header length, then the header as JSON.
    (length,) = struct.unpack("<Q", content[:8])
    facts: Facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["facts"])
    return facts
