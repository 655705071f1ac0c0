"""Settings from YAML files, and what was probably meant by a word that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import ValidationError

from shardsift.config.base import Config, fields_by_key
from shardsift.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=Config)


def bundled_configs() -> dict[str, Path]:
    """Find the configs that come with Shardsift, by name."""
    package = Path(__file__).parents[1]
    folder = package / "configs"  # of a wheel; in a checkout they lie at its root
    if not folder.is_dir():
        folder = package.parents[1] / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load_config(
    kind: type[ConfigT],
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ConfigT:
    """Read settings from a YAML file and let `overrides` win over it.

    `config` is a path, or the name of a config that comes with Shardsift; a path wins.

    Raises:
        ConfigError: on an unreadable file, an unknown key (naming the nearest known one) or a
            value out of range.
    """
    file = None if config is None else find_config(str(config))
    values = (read_yaml(file) if file else {}) | dict(overrides or {})
    _refuse_unknown_keys(values, set(fields_by_key(kind)), file)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "missing":
            raise ConfigError(f"{where} has to be given") from error
        if not where:  # several settings that don't go together
            raise ConfigError(reason) from error
        raise ConfigError(f"{where}: {reason} (got {first['input']!r})") from error


def _nearest(word: str, known: set[str]) -> str | None:
    """Return the known word that was probably meant, if one is close."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Ask for the known word that was probably meant; say something else if none is close."""
    guess = _nearest(word, set(known))
    return f"did you mean {guess}?" if guess else otherwise


def find_config(name: str) -> Path:
    """Find a file, or a config that comes with Shardsift. Raises ConfigError."""
    bundled = bundled_configs()
    if Path(name).is_file() or Path(name).name != name or "." in name:
        return Path(name)
    if name not in bundled:
        known = ", ".join(bundled)
        raise ConfigError(f"--config {name}: neither a file nor one of {known}")
    return bundled[name]


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a file of keys and values. Raises ConfigError."""
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: is nested too deeply for a config") from error
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
        raise ConfigError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: has to be a mapping of keys to values")
    return {
        str(key).replace("-", "_"): value for key, value in cast(dict[Any, Any], content).items()
    }


def _refuse_unknown_keys(values: Mapping[str, Any], known: set[str], file: Path | None) -> None:
    for key in values:
        if key not in known:
            guess = _nearest(key, known)
            hint = (
                f"did you mean {guess!r}?" if guess else f"known keys: {', '.join(sorted(known))}"
            )
            raise ConfigError(f"{file or 'configuration'}: unknown key {key!r}; {hint}")
