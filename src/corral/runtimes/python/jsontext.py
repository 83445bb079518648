"""JSON, read and written by the C parts of the `json` module alone, prepared once. The module's own functions run a
dozen Python functions around them; each costs time, and in a fresh instance a copied page or two."""

import json
import json.encoder
from typing import Any, Callable

_SPACE = " \t\n\r"
_scan: Any = vars(json.JSONDecoder())["scan_once"]


def read(text: bytes) -> Any:
    """Raises ValueError, as json.loads."""
    try:
        stripped = text.decode().strip(_SPACE)
        value, end = _scan(stripped, 0)
        if end == len(stripped):
            return value
    except (ValueError, StopIteration):
        pass
    return json.loads(text)  # another encoding, a byte order mark, or a mistake, which it names


def writer(**options: Any) -> Callable[[Any], str]:
    """What `json.JSONEncoder(**options).encode` does, for any number of threads. Raises as that."""
    encoder = json.JSONEncoder(ensure_ascii=False, **options)
    make: Any = vars(json.encoder)["c_make_encoder"]
    if make is None:
        return encoder.encode
    write = make(
        None,  # no search for circles: their recursion ends soon enough
        encoder.default,
        json.encoder.encode_basestring,
        None,
        encoder.key_separator,
        encoder.item_separator,
        False,
        False,
        encoder.allow_nan,
    )

    def encode(value: Any) -> str:
        try:
            return "".join(write(value, 0))
        except RecursionError:
            return encoder.encode(value)  # says whether it is a circle

    return encode


write = writer()
