"""What an API takes: anything it does not know is refused with a sentence, never ignored."""

from __future__ import annotations

from typing import Any, TypeVar

from rest_framework import serializers


class Strict(serializers.Serializer):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError(
                    {name[:60]: [f"Unknown field. Known: {', '.join(self.fields)}."] for name in map(str, unknown)}
                )
        return super().to_internal_value(data)


S = TypeVar("S", bound=Strict)


def read(kind: type[S], data: Any) -> dict[str, Any]:
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data
