import numpy as np
from PIL import Image

from bigr_cli.imaging.animation import SamplingFilm, veiled


def test_masked_tokens_are_greyed_and_the_others_left() -> None:
    image = Image.new("RGB", (4, 4), (200, 0, 100))
    masked = np.array([[True, False], [False, False]])
    pixels = np.asarray(veiled(image, masked)).astype(int)
    assert (pixels[:2, :2] == [142, 102, 122]).all()
    assert (pixels[2:] == [200, 0, 100]).all()
    assert (pixels[:2, 2:] == [200, 0, 100]).all()


def test_film_has_a_frame_per_iteration_whatever_the_order_of_batches() -> None:
    film, clear = SamplingFilm(), np.zeros((2, 2), dtype=bool)
    for index in (1, 0):
        for iteration in range(3):
            film.add(iteration, index, Image.new("RGB", (16, 16), (index * 50, iteration * 50, 0)), clear)
    frames, durations = film.frames()
    assert [frame.size for frame in frames] == [(34 * 16, 16 * 16)] * 3
    assert [frame.getpixel((0, 0)) for frame in frames] == [(0, 0, 0), (0, 50, 0), (0, 100, 0)]
    assert [frame.getpixel((543, 0)) for frame in frames] == [(50, 0, 0), (50, 50, 0), (50, 100, 0)]
    assert len(durations) == 3
    assert durations[-1] > durations[0]


def test_nothing_added_is_no_film() -> None:
    assert SamplingFilm().frames()[0] == []


def test_large_images_are_not_enlarged() -> None:
    film = SamplingFilm()
    film.add(0, 0, Image.new("RGB", (300, 300)), np.ones((2, 2), dtype=bool))
    assert film.frames()[0][0].size == (300, 300)
