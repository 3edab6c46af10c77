"""The JSON Schema (2020-12) of `orchestrator.yml`, made from the models and shipped beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from potato.config.models import Document

SHIPPED: Final = Path(__file__).with_name("orchestrator.schema.json")
URL: Final = "https://json-schema.org/draft/2020-12/schema"


def make_schema() -> dict[str, Any]:
    """The schema as editors want it: natural YAML types, where the models read text."""
    schema = Document.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": URL, "title": "Potato orchestrator config", **{k: v for k, v in schema.items() if k != "title"}}


def schema_text() -> str:
    """What is shipped and printed."""
    return json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"
