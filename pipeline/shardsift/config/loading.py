"""Settings from YAML files and flags."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_origin

import yaml
from pydantic import ValidationError

from shardsift.config.base import Config, fields_by_key
from shardsift.config.mistakes import VARIABLE, ValueSources, as_keywords
from shardsift.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=Config)


def bundled_configs() -> dict[str, Path]:
    """Find the configs that come with Shardsift, by name."""
    package = Path(__file__).parents[1]
    folder = package / "configs"  # in a wheel; in a checkout they are at its root
    if not folder.is_dir():
        folder = package.parents[1] / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def load_config(
    kind: type[ConfigT],
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    others: Collection[str] = (),
    *,
    in_python: bool = False,
) -> ConfigT:
    """Read settings from a YAML file, let variables win over it, and `overrides` over these.

    A variable is called `SHARDSIFT_KEEP_TOP`; an empty one is ignored.

    `config` is a path, or the name of a config that comes with Shardsift; a path wins. Keys of
    `others`, which belong to other verbs, are ignored in it. Errors name `overrides` as keywords if
    they were given `in_python`, else as flags.

    Raises:
        ConfigError: with a line for each mistake: a file that can't be read, an unknown key (and
            the nearest known one), a value out of range.
    """
    file = None if config is None else find_config(str(config))
    found, lines = (read_yaml(file), _lines_of(file)) if file else ({}, {})
    ours = fields_by_key(kind)
    found = {key: value for key, value in found.items() if key in ours or key not in others}
    flags = dict(overrides or {})
    variables = _variables(kind, environment or {})
    written = ValueSources(kind, file, lines, flags, variables, in_python=in_python)
    values = found | variables | flags
    mistakes = written.twice()
    mistakes += [written.unknown(key) for key in values if key not in ours]
    known = {key: value for key, value in values.items() if key in ours}
    try:
        settings, problem = kind.model_validate(known), None
    except ValidationError as error:
        settings, problem = None, error
        mistakes += written.mistakes(error)
    if settings is None or mistakes:
        told = "\n".join(mistakes)
        raise ConfigError(as_keywords(told) if in_python else told) from problem
    return settings


def _variables(kind: type[Config], environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, field in fields_by_key(kind).items():
        if value := environment.get(VARIABLE + key.upper()):
            found[key] = [value] if get_origin(field.annotation) is tuple else value
    return found


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
        raise ConfigError(f"{file}: is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # an impossible date raises ValueError
        raise ConfigError(f"{_place_in(file, error)}: not YAML: {_line(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: has to be a mapping of keys to values")
    return {
        str(key).replace("-", "_"): value for key, value in cast(dict[Any, Any], content).items()
    }


def _place_in(file: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{file}:{mark.line + 1}" if mark else str(file)


def _line(error: Exception) -> str:
    return getattr(error, "problem", None) or " ".join(str(error).split())


def _lines_of(file: Path) -> dict[str, list[int]]:
    """Return the lines of each key in a file; of a repeated key YAML reads the last one."""
    root = yaml.compose(file.read_text(), yaml.SafeLoader)
    lines: dict[str, list[int]] = {}
    for node, _ in root.value if isinstance(root, yaml.MappingNode) else ():
        key = str(node.value).replace("-", "_")
        lines.setdefault(key, []).append(node.start_mark.line + 1)
    return lines
