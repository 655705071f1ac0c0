"""Shards whose samples carry opinions, for tests."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import ImageFilter

from tests.samples import File, picture, write_tar

BLURS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)


def write_rated_shard(path: Path, images: int = 12, **further: Any) -> Path:
    """Clouds that are more blurred the lower their `mos`, and less so the lower their `dmos`."""
    files: list[File] = []
    for number in range(images):
        blur = BLURS[number % len(BLURS)]
        content = io.BytesIO()
        cloud = picture(width=240 + number, height=230, seed=number)
        cloud.filter(ImageFilter.GaussianBlur(blur)).save(content, "PNG")
        opinion = 5 - 0.8 * blur + 0.01 * number
        fields = {"mos": opinion, "dmos": 5 - opinion, "kind": f"kind {number % 2}", **further}
        files += [
            (f"{number:04}.png", content.getvalue()),
            (f"{number:04}.json", json.dumps(fields).encode()),
        ]
    return write_tar(path, files)
