from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import save
from models.kinds import KINDS
from models.kinds.text import BadText, TextFormat, has_ended, lengths
from models.vae import VAE, VAEConfig

LETTERS = TextFormat(6, list("abc \n"))
BYTES = TextFormat(6, "bytes")


def test_rows_hold_numbers_of_characters_and_the_end_after_them() -> None:
    rows = LETTERS.rows(["ab", "c a\n"])
    assert rows.dtype == np.int16
    assert rows.tolist() == [[1, 2, 0, 0], [3, 4, 1, 5]]
    assert lengths(rows).tolist() == [2, 4]
    assert has_ended(rows).tolist() == [True, False]
    assert LETTERS.count == 6


def test_texts_come_back_whatever_the_length_of_their_rows() -> None:
    for length in (4, 6):
        assert LETTERS.items(LETTERS.rows(["ab", "c a\n"], length)) == ["ab", "c a\n"]


def test_bytes_hold_any_text() -> None:
    rows = BYTES.rows(["é\0", "日本"])
    assert BYTES.items(rows) == ["é\0", "日本"]
    assert BYTES.items(rows[1:, :4]) == ["日\ufffd"]
    assert BYTES.count == 257


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (5, "text 1: a text must be a string, not 5"),
        ("", "is empty"),
        ("abcabca", "has 7 characters; this model takes at most 6"),
        ("axé", "has the characters 'x' (U+0078), 'é' (U+00E9), which the training texts do not have; known: 'abc \\n'"),
        ("aX", "has the character 'X' (U+0058)"),
        ("qwertyu", "and 2 more"),
    ],
)
def test_errors_name_the_item_and_the_characters(item: object, reason: str) -> None:
    with pytest.raises(BadText) as caught:
        LETTERS.rows(["a", item])
    assert reason in str(caught.value)
    assert caught.value.item == 1


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(BadText, match="surrogate"):
        BYTES.rows(["\ud800"])


def test_pictures_show_texts() -> None:
    blank, written = LETTERS.pictures(LETTERS.rows([" ", "abc"]))
    assert blank.min() == 255
    assert written.min() < 100


@pytest.mark.parametrize(
    "stored",
    [{"max_length": 0}, {"tokens": []}, {"tokens": ["a", "a"]}, {"tokens": ["ab"]}, {"tokens": "words"}, {"tokens": [5]}],
)
def test_a_preparation_that_makes_no_sense_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(stored))} must be"):
        KINDS["text"].preprocessing(**{**LETTERS.stored(), **stored})


def test_a_checkpoint_has_one_output_for_each_token(tmp_path: Path) -> None:
    vae = VAE(VAEConfig((6,), 2, "lstm", {"outputs": 7, "encoder": 2, "decoder": 2}, "categorical", kind="text"))
    with pytest.raises(ValueError, match="the net has 7 outputs, but there are 6 tokens"):
        save(tmp_path, vae, LETTERS)
    with pytest.raises(ValueError, match="is saved with its preprocessing"):
        save(tmp_path, vae)


@pytest.mark.parametrize("spec", [LETTERS, BYTES])
def test_what_is_stored_makes_the_same_preparation(spec: TextFormat) -> None:
    assert KINDS["text"].preprocessing(**spec.stored()) == spec


def test_letters_with_accents_are_the_same_as_one_character_or_two() -> None:
    accented = TextFormat(6, ("a", "\u00e9"))
    assert accented.rows(["ae\u0301", "a\u00e9"]).tolist() == [[1, 2], [1, 2]]


def test_a_text_that_is_far_too_long_is_refused_unread() -> None:
    with pytest.raises(BadText, match="has 1,000 characters; this model takes at most 6"):
        LETTERS.rows(["x" * 1000])
