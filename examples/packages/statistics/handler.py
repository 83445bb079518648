"""CSV in, its numbers' statistics out; with `by`, for each value of that column.

curl --data-binary @prices.csv 'http://127.0.0.1:8080/function/statistics?by=city'"""

import io

import pandas


def handle(event, context):
    try:
        table = pandas.read_csv(io.BytesIO(event.body))
    except (ValueError, UnicodeDecodeError) as exc:
        return {"statusCode": 400, "body": {"error": f"send CSV with a line of names: {exc}"}}
    by = event.query.get("by")
    if by is None:
        return {"rows": len(table), "columns": described(table)}
    if by not in table.columns:
        return {"statusCode": 400, "body": {"error": f"by = {by!r}, must be one of {', '.join(table.columns)}"}}
    groups = table.groupby(by)
    return {"rows": len(table), by: {str(value): described(rows.drop(columns=by)) for value, rows in groups}}


def described(table):
    numbers = table.select_dtypes("number")
    if numbers.empty:
        return {}
    columns = numbers.agg(["count", "mean", "min", "median", "max"]).to_dict()
    # JSON has no NaN: what could not be computed is null.
    return {
        name: {what: None if pandas.isna(value) else value for what, value in column.items()}
        for name, column in columns.items()
    }
