"""The kept samples of a source shard, as they lie in its tar.

If each image has a place, samples are read by byte range; else (in a gzip'd tar, or if a
sample has no image) the shard is unpacked into a scratch file and read from its beginning.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from tarfile import TarError

from shardsift.errors import ShardError
from shardsift.redaction import reason
from shardsift.reshard.headers import TarPiece
from shardsift.reshard.pieces import Piece, read_pieces
from shardsift.reshard.rows import KeptRow
from shardsift.reshard.samples import RawSample, find_files, raw_sample, samples_from
from shardsift.shards.tars import unpacked
from shardsift.storage.files import open_stream
from shardsift.storage.ranges import open_ranges


def read_kept(url: str, shard: str, rows: Sequence[KeptRow]) -> Iterator[RawSample]:
    """Yield the samples of these rows, in order.

    Raises:
        ShardError: if the tar can't be read, or isn't what was scored.
    """
    has_places = all(row.offset is not None for row in rows)
    try:
        with open_ranges(url) as ranges:
            if has_places and ranges:
                for piece in read_pieces(ranges, rows):
                    yield from _samples_in(piece, shard)
            else:
                yield from _front_to_back(url, shard, rows)
    except (OSError, EOFError, zlib.error, TarError, ValueError) as error:
        raise ShardError(shard, f"can't be read: {reason(error)}") from error


def _samples_in(piece: Piece, shard: str) -> Iterator[RawSample]:
    tar = TarPiece(piece.data)
    done, done_shift = 0, -1
    for row, shift in piece.rows:
        begin = row.begin - shift
        if shift == done_shift:  # the sample before was read in the same go
            begin = max(begin, done)
        files = find_files(tar, row, begin, shift)
        if not files:
            raise ShardError(shard, f"{row.key} isn't where it was when the shard was scored")
        sample = raw_sample(piece.data, row, files)
        done, done_shift = sample.spans[-1][1], shift
        if done > row.end - shift:
            raise EOFError(f"ends in the middle of {row.key}")
        yield sample


def _front_to_back(url: str, shard: str, rows: Sequence[KeptRow]) -> Iterator[RawSample]:
    with tempfile.TemporaryFile(prefix="shardsift-") as scratch:
        with open_stream(url) as file:
            shutil.copyfileobj(unpacked(file), scratch, 1 << 20)
        scratch.flush()
        # Not closed by hand: samples that were given out may still be looked at.
        content = mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ)
    tar = TarPiece(memoryview(content), content)
    samples = enumerate(samples_from(tar))
    for row in rows:
        found = next((sample for index, sample in samples if index == row.index), None)
        if found is None or found[0] != row.key:
            key = "nothing" if found is None else found[0]
            raise ShardError(shard, f"sample {row.index} was {row.key}, and is {key} now")
        sample = raw_sample(tar.data, row, found[1])
        if sample.spans[-1][1] > len(tar.data):
            raise EOFError(f"ends in the middle of {row.key}")
        yield sample
