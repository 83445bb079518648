"""The outcome for machines: JSON and CSV."""

import csv
import io

import msgspec

from corral.race.outcome import Figures, Outcome

COLUMNS = tuple(field.name for field in msgspec.structs.fields(Figures))


def json_of(outcome: Outcome) -> str:
    """Keys in the order of the structs; same outcome, same text."""
    return msgspec.json.format(msgspec.json.encode(outcome), indent=1).decode() + "\n"


def csv_of(outcome: Outcome) -> str:
    """A line for each policy and group; what is not known is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("policy", "engine", "group", *COLUMNS))
    for each in outcome.contenders:
        for group, figures in each.groups.items():
            values = (getattr(figures, name) for name in COLUMNS)
            writer.writerow((each.name, each.engine, group, *("" if value is None else value for value in values)))
    return file.getvalue()
