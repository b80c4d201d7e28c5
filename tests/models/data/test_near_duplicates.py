"""Held-out pictures that training nearly repeats are counted, and those that resemble their neighbours in the source."""

import torch

from models.data import Items, hold_out, near_duplicates
from models.data.near_duplicates import MOST_HELD_OUT, compare, line


def test_brute_force_agrees() -> None:
    noise = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (90, 3, 40, 20), generator=noise, dtype=torch.uint8)
    x[80:84] = x[10:14].clamp(max=254) + 1  # nearly the same pictures
    found = compare(Items(x[:80]), Items(x[80:]))
    assert found == {"compared": 10, "training": 80, "near": 4}
    assert compare(Items(x[:80].flip(0)), Items(x[80:])) == found


def test_the_size_is_bounded() -> None:
    x = torch.zeros(MOST_HELD_OUT * 3 + 1, 1, 8, 8, dtype=torch.uint8)
    found = compare(Items(x[:10]), Items(x))
    assert found["compared"] <= MOST_HELD_OUT
    assert found["near"] == found["compared"]


def video(frames: int) -> Items:
    """A window that glides over noise: each frame resembles the next ones."""
    wall = torch.rand(1, 1, 16, frames // 2 + 16, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.interpolate(wall, scale_factor=(1, 8), mode="bilinear")[0]
    return Items(torch.stack([(255 * wide[:, :, 4 * i : 4 * i + 16]).byte() for i in range(frames)]))


def test_the_frames_of_a_video_get_a_warning_that_blocks_end() -> None:
    training, validation = hold_out(video(600), 0.05, 0)
    found = compare(training, validation)
    assert found["adjacent"] > 0.9 * found["compared"]
    assert found["adjacent_by_chance"] < 1
    said = line(found, "validation")
    assert said.startswith("warning: near-duplicates: ")
    assert "places away, as in a video; so its numbers look too good: use --validation-split blocks" in said
    assert "--validation" not in line(found, "test", advise=False)
    said = line(compare(*hold_out(video(600), 0.1, 0, kind="blocks")), "validation")
    assert not said.startswith("warning")


def test_groups_in_both_are_counted() -> None:
    x = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures = Items(x, groups=torch.arange(40) // 4)
    found = compare(pictures[:38], pictures[38:])
    assert found["same_group"] == 2
    assert line(found, "test").endswith("2 are of a group that is trained on, too")
    assert compare(pictures[:36], pictures[36:])["same_group"] == 0


def test_copies_are_said_to_need_groups() -> None:
    found = {"compared": 10, "training": 90, "near": 1}
    assert line(found, "validation").endswith("an array `groups`, or sub-folders, and --validation-split group")
    assert line(found | {"near": 0}, "test") == "near-duplicates: 0 of 10 test pictures are nearly repeated in training"
    assert near_duplicates.MANY * 10 == 1
    assert line(found, "validation", own=False).endswith("so its numbers look too good")  # Those of mnist cannot be given.


def test_few_pictures_give_no_warning() -> None:
    few = {"compared": 1, "training": 90, "near": 0, "adjacent": 1, "adjacent_by_chance": 0.1}
    assert line(few, "validation").startswith("near-duplicates: 0 of 1 validation picture is nearly repeated in training; 1 ")
    assert "look too good" not in line(few | {"near": 1}, "validation")
