"""A folder of pictures, as rows of the pixels that the model was trained on.

Knows which files are pictures and which are none. Refuses to know what becomes of their pixels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mcdrop.data.pixels import picture_shape, pixels_of
from mcdrop.data.preprocessing import ArrayPreprocessing, Preprocessing
from mcdrop.errors import DataError
from mcdrop.scoring.lines import Run
from mcdrop.scoring.places import File, open_file
from mcdrop.scoring.rows import BLOCK, CHUNK, Raw, Rejected, carried
from mcdrop.scoring.select import Selection, check_kept

__all__ = ["PictureSource"]


class PictureSource:
    """Many picture files, one a row; what is carried through is `FILE`, and `ROW`, which is 0.

    Args:
        files: the pictures.
        preprocessing: of the model.
        keep: columns to carry through.
    """

    def __init__(
        self, files: Sequence[File], preprocessing: Preprocessing, keep: Sequence[str]
    ) -> None:
        if not isinstance(preprocessing, ArrayPreprocessing) or not picture_shape(preprocessing):
            raise DataError("is a picture, but the model takes none: give arrays or tables")
        check_kept([], keep)
        self.files, self.preprocessing = files, preprocessing
        self.selection = Selection((), (), preprocessing)
        self.fields = pa.schema([])

    def pieces(self) -> Iterator[Run]:
        """Runs of files, of one chunk each."""
        for start in range(0, len(self.files), CHUNK):
            stop = min(start + CHUNK, len(self.files))
            yield Run(start, stop, stop - start)

    def read(self, run: Run, first: int) -> Iterator[Raw]:  # noqa: ARG002 - each file has one row
        """The pictures of a run; those that are none are rejected."""
        for start in range(run.start, run.stop, BLOCK):
            names, pixels, bad = [], [], []
            for file in self.files[start : min(start + BLOCK, run.stop)]:
                try:
                    pixels.append(self._read(file))
                    names.append(file.name)
                except UnidentifiedImageError:
                    bad.append(Rejected(file.name, 0, "no picture of any kind that is known", ""))
                except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                    bad.append(Rejected(file.name, 0, f"no picture that can be read: {error}", ""))
            kept = carried(pa.table({}), np.zeros(len(names), np.int64), names)
            yield Raw(pixels, self.selection.inspect, kept, tuple(bad), lambda _row: "")

    def _read(self, file: File) -> NDArray[np.float32]:
        with open_file(file.path) as raw, Image.open(raw) as image:
            return pixels_of(image, self.preprocessing)
