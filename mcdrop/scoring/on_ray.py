"""A Ray cluster: the same pieces through the same `Scorer`, in a pool of actors on any machine.

Knows Ray Data. A node that dies costs the pieces it had at hand, which Ray gives to others; parts
come back to this machine, which alone commits them. Files of rows must be readable from every
node under the same path or URL; the model travels with the job. Refuses to know what a part is.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mcdrop.errors import DataError, InputError, McdropError
from mcdrop.predictor import load
from mcdrop.scoring.lines import Run
from mcdrop.scoring.scorer import Job, Part, Scorer, Work
from mcdrop.scoring.sources import Piece

__all__ = ["on_ray"]


def on_ray(work: Sequence[Work], job: Job, model: Path, workers: int) -> Iterator[Part]:
    """Make the parts of all pieces on the cluster; in any order, and perhaps some of them twice.

    Args:
        work: the pieces.
        job: what is scored.
        model: the version's folder.
        workers: actors, at most; each takes one CPU, or one GPU if the job's device is one.

    Raises:
        InputError: Ray is not installed.
    """
    if not work:
        return
    ray = _ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False)  # the cluster of RAY_ADDRESS, a running one, or a new one
    files = {file.name: file.read_bytes() for file in model.iterdir() if file.is_file()}
    pieces = ray.data.from_items(list(map(_item, work)), override_num_blocks=len(work))
    pieces.context.enable_progress_bars = False  # the caller has one
    made = pieces.map_batches(
        _Actor,
        fn_constructor_args=(job, f"{model.parent.name}/{model.name}", ray.put(files)),
        batch_size=1,
        # All at once, but as many as there is room for will do: nodes may die, or not be there yet.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        **({"num_cpus": 1} if job.device == "cpu" else {"num_gpus": 1}),
    )
    for row in made.iter_rows():
        if row["error"]:
            raise DataError(row["error"])
        yield Part(row["number"], row["rows"], row["rejected"], row["content"], row["side"])


class _Actor:
    """A worker on some node, with a model of its own."""

    def __init__(self, job: Job, place: str, files: Any) -> None:
        import ray

        with tempfile.TemporaryDirectory() as folder:
            version = Path(folder) / place
            version.mkdir(parents=True)
            for name, content in ray.get(files).items():
                (version / name).write_bytes(content)
            predictor = load(version)
        predictor.network.to("cpu" if job.device == "cpu" else "cuda")
        self._scorer = Scorer(predictor, job)

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Parts of one piece, as rows of a data set."""
        one = {name: values[0] for name, values in batch.items()}
        run = Run(int(one["start"]), int(one["stop"]), int(one["rows"]))
        piece = Piece(int(one["source"]), int(one["first"]), run, int(one["chunk"]))
        try:
            for part in self._scorer.parts([(piece, frozenset(map(int, one["done"])))]):
                yield _row(part)
        except McdropError as error:  # an error that is raised here comes back as one of Ray's
            yield _row(Part(-1, 0, 0, b"", b""), str(error))


def _item(work: Work) -> dict[str, Any]:
    piece, done = work
    return {
        **{"source": piece.source, "first": piece.first, "chunk": piece.chunk},
        **{"start": piece.run.start, "stop": piece.run.stop, "rows": piece.run.rows},
        "done": sorted(done),
    }


def _row(part: Part, error: str = "") -> dict[str, Any]:
    return {name: [value] for name, value in {**asdict(part), "error": error}.items()}


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("Ray is not installed: pip install 'mcdrop[ray]'") from None
    return ray
