"""Embeddings answer as the features did that they were kept of."""

from __future__ import annotations

import numpy as np
import torch

from shardsift.config import Attributes, ScoreConfig
from shardsift.scoring.maclip import attribute_values
from shardsift.scoring.questions import Questions, load_questions
from shardsift.scoring.scorer import Scorer
from tests.shardsift.scoring.test_attributes import ASKED, pictures

CONFIG = ScoreConfig(model="compact", crops="global")


def test_embeddings_answer_as_pictures_did_whose_whole_view_was_asked() -> None:
    scorer = Scorer(CONFIG, attributes=ASKED, embeddings=True)
    scores = list(scorer.score(pictures(20)))
    questions = load_questions(CONFIG, ASKED)
    assert questions.fingerprint == scorer.fingerprint
    found_AN = np.stack(questions.measure(np.stack([score.embedding for score in scores])))
    expected_AN = np.stack([score.per_crop.attributes[:, 0] for score in scores], axis=1)
    assert (found_AN.shape, found_AN.dtype) == ((2, 20), np.float32)
    np.testing.assert_allclose(found_AN, expected_AN, atol=2e-3)


def test_the_sigmoid_of_a_difference_is_the_softmax_of_a_pair() -> None:
    """To 1e-5, over more rows than are computed at a time, with several pairs an attribute."""
    generator = torch.Generator().manual_seed(0)
    text_Q2D = torch.nn.functional.normalize(torch.randn(3, 2, 64, generator=generator), dim=-1)
    embeddings_ND = torch.randn(2500, 64, generator=generator).half().numpy()
    asked: Attributes = {"one": (("a", "b"), ("c", "d")), "two": (("e", "f"),)}
    towards_QD = 100 * (text_Q2D[:, 0] - text_Q2D[:, 1])
    questions = Questions(attributes=asked, towards_QD=towards_QD, fingerprint="")
    expected = attribute_values(torch.from_numpy(embeddings_ND).float(), text_Q2D, [2, 1], 100.0)
    found_AN = np.stack(questions.measure(embeddings_ND))
    np.testing.assert_allclose(found_AN, torch.stack(expected), atol=1e-5)


def test_no_embedding_gives_no_answer() -> None:
    embeddings_ND = np.ones((3, 256), np.float16)
    embeddings_ND[1] = 0
    found_AN = load_questions(CONFIG, ASKED).measure(embeddings_ND)
    np.testing.assert_array_equal(np.isnan(found_AN), [[False, True, False]] * 2)
