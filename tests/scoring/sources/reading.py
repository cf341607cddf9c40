"""Files of every form, and the chunks that are read from them."""

import numpy as np
import pyarrow as pa

from mcdrop.scoring.places import find
from mcdrop.scoring.sources import Sources
from tests.forms import ARRAYS, IMAGE, STREAMED, TABLES

FORMS = [*TABLES, *ARRAYS, *STREAMED]


def read(path, preprocessing=IMAGE, keep=(), skip=()):
    """Chunks, as they are."""
    sources = Sources(find(str(path)), preprocessing, keep)
    return [chunk for piece in sources.plan() for chunk in sources.chunks(piece, skip)]


def joined(chunks):
    blocks = [block for chunk in chunks for block in chunk.blocks if len(block[0])]
    kept = [table for _, table in blocks]
    return np.concatenate([rows.x for rows, _ in blocks]), pa.concat_tables(kept).to_pydict()
