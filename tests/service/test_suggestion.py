"""What somebody probably meant: the most similar name, or none."""

from service.suggestion import similar, suggestion

KNOWN = ("seed", "samples", "scores")


def test_the_most_similar_name_is_suggested() -> None:
    assert suggestion("sede", KNOWN, "otherwise") == "did you mean seed?"
    assert similar("sample", iter(KNOWN)) == "samples"


def test_nothing_is_suggested_if_nothing_is_similar() -> None:
    assert (suggestion("zzz", KNOWN, "otherwise"), suggestion("zzz", ()), similar("zzz", KNOWN)) == ("otherwise", "", None)
    assert similar("sede", KNOWN, least=0.9) is None


def test_a_huge_name_is_compared_by_its_beginning() -> None:
    assert similar("a" * 100 + "b" * 10**7, ["a" * 100]) == "a" * 100
