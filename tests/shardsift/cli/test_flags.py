"""Every field of a config is a flag, and typed values reach the field."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from pydantic import ByteSize, Field
from typer.testing import CliRunner

from shardsift.cli.flags import make_command
from shardsift.config import CommaSeparated, Config, Given, load_config


class Shared(Config):
    """Settings of several verbs."""

    retries: int = Field(default=3, ge=0, description="tries of a thing")


class Settings(Shared):
    """One field of each kind."""

    places: Annotated[tuple[str, ...], Given.BY_PLACE] = Field(default=(), description="places")
    share: float | None = Field(default=None, description="a share")
    codes: Annotated[tuple[str, ...], CommaSeparated] = Field(default=(), description="codes")
    size: ByteSize = Field(default=ByteSize(1 << 20), description="a size")
    loud: bool = Field(default=False, description="be loud")
    polite: bool = Field(default=True, description="be polite")
    secret: Annotated[int, Given.IN_FILE] = Field(default=0, description="not for everybody")


def typed(*words: str) -> Settings:
    """Parse these words to settings."""
    seen: list[dict[str, Any]] = []

    def run(context: typer.Context, given: dict[str, Any]) -> int:
        seen.append(given)
        return 0

    app = typer.Typer()
    app.command()(make_command(Settings, run))
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    (given,) = seen
    return load_config(Settings, given.pop("config", None), given)


def told(*words: str) -> str:
    app = typer.Typer()
    app.command()(make_command(Settings, lambda context, given: 0))
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"}).output


def test_nothing_typed_is_the_default() -> None:
    assert typed() == Settings()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a", "b"], {"places": ("a", "b")}),
        (["--share", "0"], {"share": 0.0}),
        (["--retries", "0"], {"retries": 0}),
        (["--codes", "x,y", "--codes", "z"], {"codes": ("x", "y", "z")}),
        (["--size", "2MiB"], {"size": 2 << 20}),
        (["--loud"], {"loud": True}),
        (["--no-polite"], {"polite": False}),
    ],
)
def test_what_is_typed_is_what_is_set(words: list[str], expected: dict[str, Any]) -> None:
    assert typed(*words) == Settings.model_validate(expected)


def test_flags_win_over_the_file(tmp_path: Any) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("retries: 7\nsecret: 1\ncodes: a,b\n")
    settings = typed("--config", str(file), "--retries", "5")
    assert (settings.retries, settings.secret, settings.codes) == (5, 1, ("a", "b"))


def test_help_tells_descriptions_and_defaults_and_leaves_out_what_is_no_flag() -> None:
    text = told("--help")
    assert "Tries of a thing. Default: 3." in text
    assert "A size. Default: 1.0 MiB." in text
    assert "--polite" in text
    assert "--no-polite" in text
    assert "secret" not in text
    assert text.index("--share") < text.index("--retries"), "its own first, shared ones behind"
