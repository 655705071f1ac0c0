"""Charts are small SVG that says what it shows."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from shardsift.report.charts import density, histogram


def test_a_histogram_is_svg_with_its_count_and_median() -> None:
    values = np.append(np.random.default_rng(0).normal(0.5, 0.1, 1000), np.nan)
    svg = ElementTree.fromstring(histogram(values, "quality", name="quality-chart"))
    assert svg.attrib["aria-label"].startswith("quality: 1,000 values, median 0.49")
    assert float(svg.attrib["data-low"]) < 0.3
    assert svg.attrib["id"] == "quality-chart"


@pytest.mark.parametrize("log_x", [False, True])
def test_densities_stay_small(log_x: bool) -> None:
    x, y = np.random.default_rng(0).uniform(0.2, 40, (2, 200_000))
    text = density(x, y, "megapixels", "quality", log_x=log_x)
    assert ElementTree.fromstring(text).attrib["aria-label"].endswith("200,000 samples")
    assert len(text) < 100_000


@pytest.mark.parametrize("values", [np.array([0.5]), np.zeros(9), np.array([1.0, 2.0])])
def test_few_values_make_charts_too(values: np.ndarray) -> None:
    ElementTree.fromstring(histogram(values, "quality"))
    ElementTree.fromstring(density(values, values, "a", "b"))


def test_nothing_is_drawn_of_nothing() -> None:
    assert histogram(np.array([np.nan]), "quality") == ""
    assert density(np.array([np.nan]), np.array([1.0]), "a", "b") == ""
