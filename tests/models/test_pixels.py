import torch

from models.pixels import to_numbers, to_pixels

EVERY_PIXEL = torch.arange(256, dtype=torch.uint8)


def test_pixels_survive_conversion_to_numbers_and_back() -> None:
    assert torch.equal(to_pixels(to_numbers(EVERY_PIXEL)), EVERY_PIXEL)


def test_extreme_pixels_map_to_minus_one_and_one() -> None:
    assert to_numbers(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_ties_round_to_the_even_pixel() -> None:
    below = torch.arange(255)
    halves = (below + 0.5) / 127.5 - 1  # rounding may make (x + 1) · 127.5 miss the tie
    exact = ((halves + 1) * 127.5) % 1 == 0.5
    assert exact.sum() > 50
    assert to_pixels(halves)[exact].tolist() == (below + below % 2)[exact].tolist()
    assert to_pixels(torch.zeros(1)).tolist() == [128]  # 127.5


def test_numbers_out_of_range_are_clamped() -> None:
    assert to_pixels(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]


def test_what_is_not_a_number_is_the_middle() -> None:
    numbers = torch.full((100,), torch.nan)  # as many as SIMD code converts at once, and some left over
    assert set(to_pixels(numbers).tolist()) == {128}


def test_memory_format_is_kept() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    assert to_numbers(images).is_contiguous(memory_format=torch.channels_last)
    assert to_pixels(to_numbers(images)).is_contiguous(memory_format=torch.channels_last)


def test_input_is_not_changed() -> None:
    numbers = torch.full((3,), 0.25)
    to_pixels(numbers)
    assert numbers.tolist() == [0.25] * 3
