"""Markdown files as web pages: /function/page shows pages/index.md, /function/page/about shows pages/about.md.

They are turned into HTML once, while the function is loaded; a call only looks them up."""

from pathlib import Path

import markdown

FRAME = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1.1em/1.5 sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em }}</style>
{body}
</html>
"""


def page(file):
    source = file.read_text(encoding="utf-8")
    title = source.partition("\n")[0].strip("# ")
    return FRAME.format(title=title, body=markdown.markdown(source, extensions=["tables", "fenced_code"]))


PAGES = {file.stem: page(file) for file in (Path(__file__).parent / "pages").glob("*.md")}


def handle(event, context):
    name = event.path.strip("/") or "index"
    if name not in PAGES:
        return {"statusCode": 404, "body": f"There is no page {name!r}.\n"}
    return PAGES[name]
