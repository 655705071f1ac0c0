"""Charts as SVG text: their colours are CSS variables, so that both themes have them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shardsift.report.gather import Floats

WIDTH, HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 10, 44
_CELLS = 44
_SHADES = 8


def histogram(values: Floats, label: str, *, name: str = "", bins: int = 60) -> str:
    """Draw bars of equal width; `name` becomes the id, for a script that marks a place in it."""
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    low, high = _range(values)
    counts, edges = np.histogram(values, bins, (low, high))
    scale = (HEIGHT - _TOP - _BOTTOM) / max(int(counts.max()), 1)
    step = (WIDTH - _LEFT - _RIGHT) / bins
    bars = "".join(
        f"M{_LEFT + n * step:.1f} {HEIGHT - _BOTTOM}v{-count * scale:.1f}h{step - 0.6:.1f}"
        f"v{count * scale:.1f}z"
        for n, count in enumerate(counts)
        if count
    )
    text = f"{label}: {len(values):,} values, median {np.median(values):.3f}"
    body = f'<path class="bars" d="{bars}"/>' + _axis(_ticks(edges[0], edges[-1]), low, high)
    mark = (
        f'<line class="mark" x1="-9" x2="-9" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>' if name else ""
    )
    places = f'data-low="{low}" data-high="{high}" data-left="{_LEFT}" data-right="{_RIGHT}"'
    data = f' id="{name}" {places}' if name else ""
    return _svg(text, f"{body}{mark}{_x_label(label)}{_count_label(int(counts.max()))}", data)


def density(x: Floats, y: Floats, x_label: str, y_label: str, *, log_x: bool = False) -> str:
    """Draw how many samples lie at each place, without the outermost thousandths."""
    both = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not log_x))
    x, y = x[both], y[both]
    if not len(x):
        return ""
    place_x = np.log10(x) if log_x else x
    x_range, y_range = _range(place_x), _range(y)
    counts, _, _ = np.histogram2d(place_x, y, _CELLS, (x_range, y_range))
    shades = np.ceil(_SHADES * np.sqrt(counts / counts.max())).astype(int)
    step_x = (WIDTH - _LEFT - _RIGHT) / _CELLS
    step_y = (HEIGHT - _TOP - _BOTTOM) / _CELLS
    paths: list[str] = []
    for shade in range(1, _SHADES + 1):
        cells = "".join(
            f"M{_LEFT + i * step_x:.1f} {HEIGHT - _BOTTOM - (j + 1) * step_y:.1f}"
            f"h{step_x:.1f}v{step_y:.1f}h-{step_x:.1f}z"
            for i, j in np.argwhere(shades == shade)
        )
        opacity = 0.12 + 0.88 * shade / _SHADES
        paths.append(f'<path class="bars" opacity="{opacity:.2f}" d="{cells}"/>')
    ticks = _log_ticks(*x_range) if log_x else _ticks(*x_range)
    axes = _axis(ticks, *x_range) + _y_axis(_ticks(*y_range), *y_range)
    text = f"{y_label} against {x_label}, {len(x):,} samples"
    return _svg(text, "".join(paths) + axes + _x_label(x_label) + _y_label(y_label))


def _range(values: Floats) -> tuple[float, float]:
    low, high = (float(v) for v in np.quantile(values, [0.001, 0.999]))
    margin = 0.02 * (high - low) or max(abs(low) * 0.01, 0.01)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Choose places and labels at round steps, three to seven of them."""
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * min((1, 2, 2.5, 5, 10), key=lambda m: abs(m * power - raw))
    places = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return [(float(place), f"{place + 0.0:.6g}") for place in places]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Choose places at 1, 2 and 5 of each power of ten, or round steps if those are too few."""
    places = [m * 10.0**e for e in range(-4, 10) for m in (1, 2, 5)]
    inside = [place for place in places if low <= np.log10(place) <= high]
    if len(inside) < 3:
        inside = [place for place, _ in _ticks(10**low, 10**high) if place > 0]
    return [(float(np.log10(place)), f"{place:.4g}") for place in inside]


def _axis(ticks: Sequence[tuple[float, str]], low: float, high: float) -> str:
    bottom = HEIGHT - _BOTTOM
    line = f'<path class="axis" d="M{_LEFT} {bottom}H{WIDTH - _RIGHT}"/>'
    labels = (
        f'<text x="{_LEFT + (place - low) / (high - low) * (WIDTH - _LEFT - _RIGHT):.1f}" '
        f'y="{bottom + 18}" text-anchor="middle">{label}</text>'
        for place, label in ticks
    )
    return line + "".join(labels)


def _y_axis(ticks: Sequence[tuple[float, str]], low: float, high: float) -> str:
    tall = HEIGHT - _TOP - _BOTTOM
    return "".join(
        f'<text x="{_LEFT - 5}" y="{HEIGHT - _BOTTOM - (place - low) / (high - low) * tall + 4:.1f}'
        f'" text-anchor="end">{label}</text>'
        for place, label in ticks
    )


def _x_label(label: str) -> str:
    return f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 7}" text-anchor="end">{label}</text>'


def _y_label(label: str) -> str:
    return f'<text x="{_LEFT + 6}" y="{_TOP + 12}" class="label">{label}</text>'


def _count_label(count: int) -> str:
    return f'<text x="{_LEFT - 5}" y="{_TOP + 9}" text-anchor="end">{_short(count)}</text>'


def _short(count: int) -> str:
    for power, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= power:
            return f"{count / power:.3g}{unit}"
    return str(count)


def _svg(text: str, body: str, attributes: str = "") -> str:
    frame = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}"{attributes}'
    return f"<svg {frame}>{body}</svg>"
