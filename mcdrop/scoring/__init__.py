"""Scoring files of any size: a row of answers for every row of input, exactly once.

    places     files: local, URLs, globs, standard input
    sources    every format behind one door: batches, arrays, pictures, and text:
               lines cut into runs, csv_rows, json_rows
    select     which columns the model takes, and which are carried through
    rows       encoding, and setting aside what cannot be encoded
    layout     answers as columns
    scorer     from pieces of the input to parts of the output
    sharing    what is left to do, and by whom
    processes  scorers in processes of this machine; on_ray: on a cluster
    journal    parts that survive the death of their writer
    assembly   parts put together; writing: in files
    tally      what they add up to; summary: in the end
    scoring    all of it, in order

Refuses to know HTTP, and how an answer comes about. Memory depends on the block, not on the files.
"""

from mcdrop.scoring.layout import columns, schema
from mcdrop.scoring.scoring import score
from mcdrop.scoring.summary import Summary

__all__ = ["Summary", "columns", "schema", "score"]
