"""Pages of one file: their style and script lie inside, and nothing else may run in them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_TEMPLATES = "shardsift.reporting", "templates"


def render_page(template: str, scripts: Sequence[str], data: Any, **content: Any) -> str:
    """Render a template, with data for the page's script.

    Text of `content` is escaped, and the browser only runs the script of this page, by its SHA-256.
    So names and captions are always text.
    """
    environment = Environment(
        loader=PackageLoader(*_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = _read("page.css")
    own = "".join(_read(f"{name}.js") for name in scripts)
    js = f'"use strict";\n(() => {{\n{own}}})();\n'
    return environment.get_template(template).render(
        data=data,
        css=css,
        js=js,
        css_hash=_hash(css),
        js_hash=_hash(js),
        **content,
    )


def _read(name: str) -> str:
    package, folder = _TEMPLATES
    return (files(package) / folder / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
