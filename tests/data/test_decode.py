import os
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inceptions.data import decode
from inceptions.data.decode import MAX_PIXELS, convert_image, read_image
from inceptions.errors import ImageError, TooManyPixelsError, UserError

ORIENTATION = 0x0112  # the EXIF tag


def gradient(width: int = 24, height: int = 16) -> Image.Image:
    """Smooth, without symmetry, so that compression hardly changes it and every turn shows."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 / width, y * 255 / height, 255 - x * 200 / width], axis=-1).astype(np.uint8))


def pixels(path: Path, *, channels: int = 3) -> np.ndarray:
    return np.asarray(read_image(path, channels=channels)).astype(int)


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG of 8-bit RGB with the header that is asked for and whatever data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_files_give_their_very_pixels(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    gradient().save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(gradient()))


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_gives_nearly_its_pixels(tmp_path, options):
    gradient().save(tmp_path / "a.jpg", quality=95, **options)
    assert np.abs(pixels(tmp_path / "a.jpg") - np.asarray(gradient()).astype(int)).max() <= 16


def test_the_ending_of_the_name_does_not_matter(tmp_path):
    gradient().save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(pixels(tmp_path / "a.jpg"), np.asarray(gradient()))


def test_one_channel_gives_luminance(tmp_path):
    gradient().save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", channels=1)
    red, green, blue = np.moveaxis(np.asarray(gradient()).astype(float), -1, 0)
    assert image.mode == "L"
    assert np.abs(np.asarray(image) - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1  # ITU-R 601


@pytest.mark.parametrize(("suffix", "dtype"), [("png", "<u2"), ("tif", "<u2"), ("tif", ">u2"), ("pgm", "<u2")])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, suffix, dtype):
    values = np.linspace(0, 65535, 12 * 20).round().astype(dtype).reshape(12, 20)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    expected = np.round(values.astype(float) * 255 / 65535)
    assert np.array_equal(pixels(tmp_path / f"a.{suffix}", channels=1), expected)
    assert np.array_equal(pixels(tmp_path / f"a.{suffix}"), np.repeat(expected[..., None], 3, axis=2))


def test_32_bit_integers_within_16_bits_are_16_bit_grey(tmp_path):
    Image.fromarray(np.array([[0, 257], [65535, 32896]], dtype=np.int32)).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif", channels=1).tolist() == [[0, 1], [255, 128]]


@pytest.mark.parametrize(("dtype", "words"), [(np.float32, "32-bit float"), (np.int32, "32-bit integer")])
def test_32_bit_pixels_of_unknown_range_are_refused(tmp_path, dtype, words):
    Image.fromarray(np.array([[0, 70000]], dtype=dtype)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=rf"a\.tif: {words} pixels, whose range isn't known; save it with 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


def test_cmyk_is_converted_and_not_inverted(tmp_path):
    """Also where ink is stored inverted, as Adobe's programs do and mark."""
    image = gradient().convert("CMYK")
    image.save(tmp_path / "a.tif")
    image.save(tmp_path / "a.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    for name in ("a.tif", "a.jpg"):
        assert np.abs(pixels(tmp_path / name) - np.asarray(gradient()).astype(int)).max() <= 20


def test_a_palette_gives_its_colours(tmp_path):
    image = gradient().quantize(32)
    image.save(tmp_path / "a.png")
    assert np.array_equal(pixels(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


def test_transparent_places_of_a_palette_become_white(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 100])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "index.png", transparency=1)
    image.save(tmp_path / "bytes.png", transparency=bytes([255, 0, 255]))
    for name in ("index.png", "bytes.png"):
        assert pixels(tmp_path / name).tolist() == [[[0, 0, 0], [255, 255, 255], [0, 0, 100]]]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_composited_on_white(tmp_path, suffix):
    values = np.array([[[200, 100, 0, 0], [200, 100, 0, 255], [200, 100, 0, 51]]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}", **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    assert pixels(tmp_path / f"a.{suffix}").tolist() == [[[255, 255, 255], [200, 100, 0], [244, 224, 204]]]


def test_grey_with_alpha_is_composited_on_white(tmp_path):
    Image.fromarray(np.array([[[40, 0], [40, 255]]], dtype=np.uint8), "LA").save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png", channels=1).tolist() == [[255, 40]]


def test_a_transparent_colour_becomes_white(tmp_path):
    Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)).save(tmp_path / "a.png", transparency=(1, 2, 3))
    assert pixels(tmp_path / "a.png").tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_1_bit_gives_black_and_white(tmp_path):
    bits = np.array([[True, False, True]])
    for suffix in ("png", "bmp", "pbm", "tif"):
        Image.fromarray(bits).save(tmp_path / f"a.{suffix}")
        assert pixels(tmp_path / f"a.{suffix}").tolist() == [[[255] * 3, [0] * 3, [255] * 3]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_an_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(pixels(tmp_path / f"a.{suffix}"), np.asarray(frames[0]))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_as_its_exif_orientation_says(tmp_path, orientation, suffix):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[:8, 8:], upright[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {  # by EXIF 2.32: where row 0 and column 0 of what is stored are seen
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lossless = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a.{suffix}", exif=exif, **lossless)
    assert np.abs(pixels(tmp_path / f"a.{suffix}") - upright).max() <= 4


def test_16_bit_grey_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.array([[0, 65535, 257]], dtype=np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert pixels(tmp_path / "a.png", channels=1).tolist() == [[0], [255], [1]]


def test_damaged_exif_does_not_matter(tmp_path):
    gradient().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    assert read_image(tmp_path / "a.jpg").size == (24, 16)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp", "tif", "ppm"])
def test_a_file_that_was_cut_off_is_an_error_and_never_half_a_picture(tmp_path, suffix, part):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(ImageError) as error:
        read_image(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "replace the file or leave it out" in message
    assert "cut off or damaged" in message or "no image" in message


def test_a_jpeg_that_was_cut_off_anywhere_is_an_error(tmp_path):
    gradient().save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    for length in [*range(1, len(data), 9), len(data) - 2, len(data) - 1]:
        (tmp_path / "a.jpg").write_bytes(data[:length])
        with pytest.raises(ImageError):
            read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jpg", b"", r"an empty file \(0 bytes\); replace the file or leave it out"),
        ("text.jpg", b"<html>not found</html>", "no image, or one without a whole header; replace the file"),
        ("drawing.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "no image"),
    ],
)
def test_what_is_no_image_is_told(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=rf"/{name}: {words}"):
        read_image(tmp_path / name)


def test_a_missing_file_a_folder_and_a_pipe_are_told(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, words in {
        "missing.png": "no such file; check the name",
        "": "a folder, where an image file",
        "pipe": "not an ordinary file",
    }.items():
        with pytest.raises(ImageError, match=words):
            read_image(tmp_path / name)


def test_a_file_that_must_not_be_read_is_told(tmp_path, monkeypatch):
    gradient().save(tmp_path / "a.png")

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decode.Image, "open", refuse)
    with pytest.raises(ImageError, match=r"a\.png: .*Permission denied"):
        read_image(tmp_path / "a.png")


def test_a_line_break_in_a_name_does_not_break_the_message(tmp_path):
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "two\nlines.png")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("size", [(50_000, 50_000), (MAX_PIXELS + 1, 1), (20_000, 10_000)])
def test_a_header_that_promises_too_much_is_refused_before_any_memory_is_taken(tmp_path, size, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(png(*size))
    monkeypatch.setattr(decode.Image.core, "new", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(ImageError, match=r"bomb\.png: .*more than the 178,956,970 that are allowed; make the picture smaller"):
        read_image(tmp_path / "bomb.png")


def test_a_smaller_limit_can_be_asked_for(tmp_path):
    gradient(24, 16).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", max_pixels=384).size == (24, 16)
    with pytest.raises(TooManyPixelsError, match=r"a\.png: 24x16 pixels, more than the 383 that are allowed"):
        read_image(tmp_path / "a.png", max_pixels=383)


def test_a_large_picture_below_the_limit_warns_of_nothing(tmp_path):
    (tmp_path / "large.png").write_bytes(png(10_000, 9_000))  # Pillow would warn from 89,478,485 pixels on, and warnings are errors here
    with pytest.raises(ImageError, match="cut off or damaged"):
        read_image(tmp_path / "large.png")


def test_a_warning_about_metadata_stays_inside(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 9, 9, 9])
    image.save(tmp_path / "a.png", transparency=bytes([0, 255]))  # Pillow warns when such a palette becomes RGB
    assert read_image(tmp_path / "a.png").mode == "RGB"


def test_the_picture_outlives_its_file(tmp_path):
    gradient().save(tmp_path / "a.jpg")
    image = read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").unlink()
    assert image.resize((2, 2)).getpixel((0, 0)) is not None


def test_a_picture_in_memory_is_converted_in_the_same_way():
    assert convert_image(Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0)) == (255, 255, 255)
    grey = Image.new("L", (1, 1))
    assert convert_image(grey, channels=1) is grey
    with pytest.raises(UserError, match="32-bit float"):
        convert_image(Image.new("F", (1, 1)))


def test_every_file_of_a_real_set_is_read(tmp_path):
    """398 photos; one file, imageNotFound.gif, is a picture that says that there is none."""
    folder = os.environ.get("INCEPTIONS_TEST_DATA")
    if not folder:
        pytest.skip("INCEPTIONS_TEST_DATA isn't set; it names the folder with hymenoptera.tar")
    with tarfile.open(Path(folder) / "hymenoptera.tar") as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # not in every 3.11
    paths = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(paths) == 398
    assert {read_image(path).mode for path in paths} == {"RGB"}
    assert any(path.suffix == ".gif" for path in paths)
