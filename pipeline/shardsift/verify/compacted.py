"""Proof that compacted annotations are as `compact` wrote them."""

from __future__ import annotations

from shardsift.documents import DocumentError
from shardsift.outputs.folder import RunFolder
from shardsift.outputs.output import OutputFolder
from shardsift.outputs.records import COMPACTING, CompactRecord
from shardsift.storage.files import join, read_bytes, sum_of
from shardsift.verify.findings import Findings, Problem, leftovers, strangers, unfinished

_AGAIN = "compact again, with --overwrite"


def verify_compacted(folder: RunFolder) -> Findings:
    """Check that each file of the folder is as `compact` wrote it, which had checked every row."""
    found = Findings(problems=list(leftovers(folder)))
    try:
        sums = CompactRecord.decode(read_bytes(join(folder.url, COMPACTING))).sums
    except DocumentError as error:
        found.problems.append(Problem(place=COMPACTING, trouble=str(error), remedy=_AGAIN))
        return found
    for name, expected in sums.items():
        trouble = "" if name in folder.files else "is missing"
        if not trouble and sum_of(join(folder.url, name)) != expected:
            trouble = "its bytes are not those that were written"
        if trouble:
            found.problems.append(Problem(place=name, trouble=trouble, remedy=_AGAIN))
    if not sums:
        found.problems.append(unfinished("compact"))
    found.problems += strangers(folder.files - {*sums, COMPACTING}, "is none of compact's files")
    found.counts = {"files": len(sums)}
    if not found.problems:
        places = OutputFolder(folder.url).annotations.places.values()
        rows = sum(place.footer.report.rows for place in places)
        found.counts |= {"shards": len(places), "rows checked": rows}
    return found
