"""The benchmark of alternatives: three figures for each click, and the means of a table."""

from __future__ import annotations

import numpy as np
from PIL import Image

import interactify
from benchmarks.alternatives import Row, measured, table
from interactify.evaluation.data.dataset import AnnotatedPhoto, Dataset
from tests.fixtures import networks


def test_each_click_has_all_alternatives(tmp_path):
    photo, truth = networks.random_photo(), np.zeros((64, 96), np.int8)
    truth[10:40, 20:70] = 1
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    net = interactify.wrap(networks.seeded(networks.Plain), max_evaluations=8)
    rows = measured(net, Dataset("one", (AnnotatedPhoto("a", path, lambda: {"": truth}),)), clicks=2)
    assert [(row.name, row.clicks) for row in rows] == [("a", 1), ("a", 2)]
    assert all(len(row.session) == len(row.predictor) == len(row.scores) == 3 for row in rows)
    assert rows[0].session[1] == rows[0].predictor[1] != rows[0].session[0]


def test_the_table_has_the_means():
    rows = [Row("a", 1, (0.2, 0.4, 0.6), (0.1, 0.4, 0.9), (0.5, 0.9, 0.4)),
            Row("b", 1, (0.8, 0.6, 0.4), (0.7, 0.6, 0.5), (0.7, 0.6, 0.5))]  # fmt: skip
    assert table(rows).splitlines()[-1] == "| 1 | 0.500 | 0.500 | 0.500 | 0.700 | 0.800 | 0.550 | 0.067 |"
