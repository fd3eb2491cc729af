"""Images as programs write them: every mode in every format that holds it, and what only looks like an image."""

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageCms, ImageOps

# Modes, and the formats that really hold them.
HELD = {
    "1": ("PNG", "TIFF", "PPM", "BMP"),
    "L": ("PNG", "TIFF", "JPEG", "BMP", "GIF", "PPM", "WEBP", "JPEG2000"),
    "LA": ("PNG", "TIFF", "JPEG2000"),
    "P": ("PNG", "GIF", "TIFF", "BMP"),
    "RGB": ("PNG", "TIFF", "JPEG", "WEBP", "BMP", "PPM", "JPEG2000", "AVIF", "MPO"),
    "RGBA": ("PNG", "TIFF", "WEBP", "JPEG2000", "AVIF", "ICO"),
    "CMYK": ("JPEG", "TIFF"),
    "YCbCr": ("TIFF", "JPEG"),
    "LAB": ("TIFF",),
    "I;16": ("PNG", "TIFF", "PPM", "JPEG2000"),
    "I;16B": ("TIFF",),
    "I": ("TIFF",),
    "F": ("TIFF", "PPM"),
    "PA": ("TIFF",),
}
SUFFIX = {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2", "MPO": "jpg"}


def levels(mode: str, width: int, height: int, seed: int) -> Image.Image:
    """An image of a mode, with bytes that its decoders reconstruct or change as they like."""
    random = np.random.default_rng(seed)
    if mode in ("I;16", "I;16B"):
        values = random.integers(0, 65536, (height, width)).astype("<u2" if mode == "I;16" else ">u2")
        return Image.frombytes(mode, (width, height), values.tobytes())
    if mode == "I":
        top = int(random.choice([200, 70_000, 2**31 - 1]))
        values = random.integers(-top if top > 70_000 else 0, top, (height, width)).astype(np.int32)
        return Image.fromarray(values)
    if mode == "F":
        scale = float(random.choice([1, 255, 65535, 1e6]))
        return Image.fromarray((random.random((height, width)) * scale).astype(np.float32))
    noise = Image.fromarray(random.integers(0, 256, (height, width, 4), dtype=np.uint8))
    if mode == "P":
        image = noise.convert("RGB").quantize(17)
        if seed % 2:
            image.info["transparency"] = seed % 17
        return image
    if mode == "PA":
        image = Image.new("PA", (width, height))
        image.putpalette(random.integers(0, 256, 768, dtype=np.uint8).tobytes())
        image.frombytes(random.integers(0, 256, (height, width, 2), dtype=np.uint8).tobytes())
        return image
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(noise.convert("RGB"), ImageCms.createProfile("sRGB"), lab, outputMode="LAB")  # type: ignore[return-value]
    image = noise.convert(mode)
    if mode in ("L", "RGB") and seed % 3 == 0:
        pixel = image.getpixel((0, 0))
        image.info["transparency"] = pixel
    return image


def encoded(image: Image.Image, kind: str, seed: int = 0) -> bytes:
    stream = io.BytesIO()
    options: dict[str, object] = {}
    if kind in ("PNG", "JPEG", "TIFF", "WEBP") and seed % 4 == 0 and image.mode != "PA":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = seed % 8 + 1  # type: ignore[index]
    if kind == "TIFF" and image.mode in ("L", "RGB", "RGBA", "I;16", "1"):
        options["compression"] = (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")[seed % 4]
    if kind == "TIFF":
        options["big_tiff"] = seed % 5 == 0 and image.mode != "I;16B"  # of which Pillow cannot read its own
    if kind == "ICO":
        options["sizes"] = [image.size]
    if kind in ("WEBP", "AVIF", "JPEG"):
        options["quality"] = 40 + seed % 60
    if kind == "MPO":
        options |= {"save_all": True, "append_images": [ImageOps.invert(image)]}
    image.save(stream, kind, **options)
    return stream.getvalue()


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 64 64
%%EndComments
(PWNED) (w) file closefile
showpage
%%EOF
"""


def dos_eps() -> bytes:
    """As Illustrator writes it: a binary header before the PostScript."""
    return struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, len(POSTSCRIPT), 0, 0, 0, 0, 0xFFFF) + b"\0\0" + POSTSCRIPT


def not_read() -> dict[str, bytes]:
    """What Pillow could read and this program does not, and what is no image at all."""
    made = {"eps": POSTSCRIPT, "dos": dos_eps(), "text": b"hello", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}
    for kind in ("TGA", "PCX", "DDS", "SGI", "PDF", "ICNS", "BLP", "MSP", "SPIDER", "IM", "XBM"):
        image = Image.new({"BLP": "P", "MSP": "1", "XBM": "1", "SPIDER": "F"}.get(kind, "RGB"), (32, 32))
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some are on their way out of Pillow
            image.save(stream, kind)
        made[kind] = stream.getvalue()
    made["wmf"] = b"\xd7\xcd\xc6\x9a" + bytes(14) + b"\1\0\x09\0\0\3" + bytes(40)
    made["fits"] = b"SIMPLE  =                    T" + b" " * 2850
    return made
