"""Holds answers against an OpenAPI document: status, media type, headers and body are what it says."""

import json
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from support.asgi import Answer

Json = dict[str, Any]


@dataclass(slots=True)
class Contract:
    """One document, with the validators of its schemas."""

    document: Json
    _validators: dict[str, jsonschema_rs.Validator] = field(default_factory=dict[str, jsonschema_rs.Validator])

    def operation(self, method: str, template: str) -> Json:
        """One operation, by its method and the path as the document has it."""
        return self.document["paths"][template][method.lower()]

    def faults(self, method: str, template: str, answer: Answer) -> list[str]:
        """What of an answer is otherwise than the document says."""
        responses = self.operation(method, template)["responses"]
        if str(answer.status) not in responses:
            return [f"the status {answer.status} is not documented: {answer.body[:300]!r}"]
        response = self.resolved(responses[str(answer.status)])
        faults = [
            fault for name, header in response["headers"].items() for fault in self._header(name, header, answer)
        ]
        content = response.get("content", {})
        if not content:
            return faults + (["a body, where there is none"] if answer.body else [])
        media = answer.headers.get("content-type", "")
        if media not in content:
            return [*faults, f"the media type is {media!r}"]
        wrong = self._validator(content[media]["schema"]).iter_errors(answer.json)
        return faults + [f"{error.message} at {list(error.instance_path)}" for error in wrong]

    def resolved(self, node: Json) -> Json:
        """The part behind a reference."""
        while "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def _header(self, name: str, header: Json, answer: Answer) -> list[str]:
        header = self.resolved(header)
        value: Any = answer.headers.get(name.lower())
        if value is None:
            return [f"the header {name} is not there"] if header.get("required") else []
        if header["schema"]["type"] == "integer":
            value = int(value)
        return [f"{name}: {error.message}" for error in self._validator(header["schema"]).iter_errors(value)]

    def _validator(self, schema: Json) -> jsonschema_rs.Validator:
        key = json.dumps(schema)
        if key not in self._validators:
            whole = {"$schema": self.document["jsonSchemaDialect"], "components": self.document["components"]}
            self._validators[key] = jsonschema_rs.validator_for(whole | {"allOf": [schema]}, validate_formats=True)
        return self._validators[key]
