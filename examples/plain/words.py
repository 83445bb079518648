"""What a text is made of: words, sentences, minutes to read, the words that stand out.

curl -d '{"text": "To be, or not to be."}' http://127.0.0.1:8080/function/words"""

import re
from collections import Counter

READ_PER_MINUTE = 230


def handler(event):
    text = event.get("text", "") if isinstance(event, dict) else event
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    if not isinstance(text, str):
        return {"statusCode": 400, "body": {"error": 'send text, or JSON as in {"text": "To be"}'}}
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text.lower())
    print(len(words), "words")
    return {
        "words": len(words),
        "different": len(set(words)),
        "sentences": len(re.findall(r"[^.!?…]+[.!?…]", text)) or int(bool(words)),
        "minutes_to_read": round(len(words) / READ_PER_MINUTE, 1),
        "most_common": Counter(words).most_common(5),
    }
