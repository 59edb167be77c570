from pathlib import Path

import pytest

from handlit.annotation.splits import deal, person_of
from handlit.errors import InputError


def test_people_are_found_in_paths() -> None:
    path = Path("photos/3/person012_7.jpg")
    assert person_of(path, None) == "photos/3/person012_7.jpg"
    assert person_of(path, r"person(\d+)") == "012"
    assert person_of(path, r"person\d+") == "person012"
    assert person_of(path, r"(\d)/(?:x(\d))?person(\d+)") == "3 012"
    with pytest.raises(InputError, match=r"does not occur in photos/3/person012_7\.jpg"):
        person_of(path, "subject")
    with pytest.raises(InputError, match="no regular expression"):
        person_of(path, "(")


def test_shares_are_kept_and_nothing_depends_on_order() -> None:
    people = [f"p{number}" for number in range(50)]
    splits = deal(people * 3, val=0.1, test=0.2)
    assert [list(splits.values()).count(name) for name in ("train", "val", "test")] == [35, 5, 10]
    assert deal(reversed(people), val=0.1, test=0.2) == splits
    # not simply the first ones
    assert {splits[f"p{number}"] for number in range(10)} >= {"train"}


@pytest.mark.parametrize(("count", "expected"), [(1, ["train"]), (2, ["train", "val"]), (3, ["test", "train", "val"])])
def test_few_files_still_validate(count: int, expected: list[str]) -> None:
    splits = deal([str(number) for number in range(count)], val=0.01, test=0.01)
    assert sorted(splits.values()) == expected
    assert set(deal(splits, val=0, test=0).values()) == {"train"}


def test_somebody_must_be_left_to_train_on() -> None:
    with pytest.raises(InputError, match="leave none of 3"):
        deal("abc", val=0.5, test=0.4)
    with pytest.raises(InputError, match="--val"):
        deal("abc", val=1.0, test=0.0)
