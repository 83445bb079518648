"""An image in, the same one small out, as PNG; the longer side has `size` pixels at most.

curl --data-binary @photo.jpg 'http://127.0.0.1:8080/function/thumbnail?size=200' -o small.png"""

import io

from PIL import Image, ImageOps

SIZE_MAX = 1000


def handle(event, context):
    size = event.query.get("size", "200")
    if not size.isdecimal() or not 1 <= int(size) <= SIZE_MAX:
        return {"statusCode": 400, "body": f"size = {size!r}, must be between 1 and {SIZE_MAX}\n"}
    try:
        image = Image.open(io.BytesIO(event.body))
        image.thumbnail((int(size), int(size)))
        # Cameras write the picture as they were held, and beside it how that was.
        image = ImageOps.exif_transpose(image)
    except (OSError, Image.DecompressionBombError) as exc:
        return {"statusCode": 415, "body": f"Send an image as the body; this is none: {exc}\n"}
    small = io.BytesIO()
    image.save(small, "PNG")
    print("made", image.size, "of", len(event.body), "bytes")
    return {"headers": {"Content-Type": "image/png"}, "body": small.getvalue()}
