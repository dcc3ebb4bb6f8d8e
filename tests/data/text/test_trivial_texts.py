"""The predictors that a network has to beat."""

from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from text_cases import imdb, tokenizer_folder, write

TRAIN = {
    "text": ["it is good"] * 3
    + ["a very good film"] * 3
    + ["it is bad"] * 2
    + ["bad film is it"] * 2
    + ["not bad of it"],
    "label": [1] * 6 + [0] * 5,
}
TEST = {"text": ["good it", "bad", "the good film", "not bad"], "label": [1, 0, 1, 1]}


def test_the_majority_and_words_that_give_a_class_away(tmp_path: Path) -> None:
    write(tmp_path / "files", {"train": TRAIN, "test": TEST})
    tokenizer_folder(tmp_path / "model")
    found = imdb(tmp_path).trivial_predictions()
    assert {name: predicted.tolist() for name, (predicted, _) in found.items()} == {
        "majority": [1, 1, 1, 1],
        "tfidf": [1, 0, 1, 0],
    }
    assert all(labels.tolist() == TEST["label"] for _, labels in found.values())


def test_it_is_scikit_learns_on_the_same_words(tmp_path: Path) -> None:
    """Every word is a token here; [CLS] and [SEP], which every text has, are words of the other form too."""
    write(tmp_path / "files", {"train": TRAIN, "test": TEST})
    tokenizer_folder(tmp_path / "model")
    words = TfidfVectorizer(token_pattern=r"\S+", lowercase=False)
    known = words.fit_transform([f"[CLS] {text} [SEP]" for text in TRAIN["text"]])
    theirs = LogisticRegression(max_iter=1000).fit(known, TRAIN["label"])
    expected = theirs.predict(words.transform([f"[CLS] {text} [SEP]" for text in TEST["text"]]))
    predicted, _ = imdb(tmp_path).trivial_predictions()["tfidf"]
    assert predicted.tolist() == expected.tolist()
