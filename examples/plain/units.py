"""A small JSON API: several routes in one function.

curl http://127.0.0.1:8080/function/units
curl http://127.0.0.1:8080/function/units/length
curl 'http://127.0.0.1:8080/function/units/length/convert?value=26.2&from=mile&to=km'"""

import re

UNITS = {
    "length": {"m": 1, "km": 1000, "inch": 0.0254, "foot": 0.3048, "mile": 1609.344},
    "mass": {"kg": 1, "g": 0.001, "t": 1000, "pound": 0.45359237, "ounce": 0.028349523125},
    "time": {"s": 1, "min": 60, "h": 3600, "d": 86_400},
}
"""Kind -> unit -> how many of the kind's first unit it is."""


class Wrong(Exception):
    """What the caller has to mend: status and sentence."""


def kinds(event):
    return {"kinds": sorted(UNITS)}


def units(event, kind):
    return {"kind": kind, "units": sorted(units_of(kind))}


def convert(event, kind):
    known = units_of(kind)
    source, target = (event.query.get(name, "") for name in ("from", "to"))
    for unit in (source, target):
        if unit not in known:
            raise Wrong(400, f"{unit!r} is no unit of {kind}, must be one of {', '.join(sorted(known))}")
    try:
        value = float(event.query.get("value", ""))
    except ValueError:
        raise Wrong(400, f"value = {event.query.get('value')!r}, must be a number") from None
    return {"value": value * known[source] / known[target], "unit": target}


def units_of(kind):
    if kind not in UNITS:
        raise Wrong(404, f"there is no kind {kind!r}, there are {', '.join(sorted(UNITS))}")
    return UNITS[kind]


ROUTES = [
    ("GET", re.compile(r"/"), kinds),
    ("GET", re.compile(r"/(?P<kind>\w+)"), units),
    ("GET", re.compile(r"/(?P<kind>\w+)/convert"), convert),
]


def handle(event, context):
    fitting = [(method, found, answer) for method, path, answer in ROUTES if (found := path.fullmatch(event.path))]
    for method, found, answer in fitting:
        if method == event.method:
            try:
                return answer(event, **found.groupdict())
            except Wrong as wrong:
                status, sentence = wrong.args
                return {"statusCode": status, "body": {"error": sentence}}
    if fitting:
        allowed = ", ".join(sorted({method for method, _, _ in fitting}))
        return {"statusCode": 405, "headers": {"Allow": allowed}, "body": {"error": f"must be {allowed}"}}
    return {"statusCode": 404, "body": {"error": f"there is no {event.path}"}}
