"""CSV in, JSON out; the separator is recognised, numbers become numbers.

curl --data-binary @prices.csv -H 'content-type: text/csv' http://127.0.0.1:8080/function/table"""

import csv
import io


def handler(event):
    if not isinstance(event, bytes):
        return {"statusCode": 400, "body": "Send CSV as the body, with content-type: text/csv\n"}
    text = event.decode("utf-8-sig")
    try:
        dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    return [
        {name: number_or_text(cell) for name, cell in row.items()}
        for row in csv.DictReader(io.StringIO(text), dialect=dialect)
    ]


def number_or_text(cell):
    for kind in (int, float):
        try:
            return kind(cell)
        except (TypeError, ValueError):
            continue
    return cell
