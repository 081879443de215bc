"""JSON of the API: what the standard parser breaks on, or lets through to break others, is refused with a sentence."""

import json
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.utils.json import strict_constant


class Json(JSONParser):
    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        raw = stream.read()  # of bounded size: Django refuses more than DATA_UPLOAD_MAX_MEMORY_SIZE
        try:
            data = json.loads(raw.decode(), parse_constant=strict_constant)
            if b"\\u" in raw:  # half of a surrogate pair is JSON, but no text: no answer could repeat it
                json.dumps(data, ensure_ascii=False).encode()
        except RecursionError:
            raise ParseError("This JSON is nested too deeply: no request here needs more than five levels.") from None
        except UnicodeError:
            raise ParseError("This is not UTF-8, or has half of a surrogate pair: send whole characters.") from None
        except ValueError as error:
            raise ParseError(f"This is not JSON: {str(error)[:200]}.") from None
        return data
