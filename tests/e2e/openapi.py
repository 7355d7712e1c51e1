"""docs/openapi.yaml: its operations, and the judgement of an answer against them."""

import json
import pathlib
import re

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
METHODS = {"get", "put", "post", "delete", "patch"}


def load():
    return yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())


def routes():
    """(method, path) of the routes table of the clerk; a segment that is a parameter is {}."""
    table = re.search(r"routes\[\] = \{\n(.*?)\n\};", (ROOT / "worker/clerk/clerk.c").read_text(), re.S).group(1)
    return set(re.findall(r'\{\s*"([A-Z]+)",\s*"([^"]+)",', table))


class Document:
    def __init__(self):
        self.whole = load()
        self.seen = set()  # (method, path, status) that the server has answered

    def resolved(self, part):
        while isinstance(part, dict) and "$ref" in part:
            part = self.at(part["$ref"])
        return part

    def at(self, reference):
        part = self.whole
        assert reference.startswith("#/"), reference
        for name in reference[2:].split("/"):
            part = part[name.replace("~1", "/").replace("~0", "~")]
        return part

    def operations(self):
        for path, item in self.whole["paths"].items():
            for method in METHODS & set(item):
                yield method.upper(), path, item[method], item.get("parameters", []) + item[method].get("parameters", [])

    def validator(self, schema):
        return jsonschema.Draft202012Validator({"allOf": [schema], "components": self.whole["components"]})

    def promised(self):
        return {(method, path, status) for method, path, operation, _ in self.operations()
                for status in operation["responses"] if status != "default"}

    def path_of(self, method, target):
        for known, path, _, _ in self.operations():
            if known == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), target.split("?")[0]):
                return path
        return None

    def judge(self, method, target, answer):
        """Is this what the file says of the request? Fails when it is not."""
        path = self.path_of(method, target)
        assert path, f"{method} {target} is not described"
        operation = self.whole["paths"][path][method.lower()]
        status = str(answer.status)
        assert status in operation["responses"], f"{method} {path} answers {status}, which is not described: {answer.text}"
        self.seen.add((method, path, status))
        self.judge_response(operation["responses"][status], answer)

    def judge_response(self, response, answer):
        response = self.resolved(response)
        for name, header in response.get("headers", {}).items():
            self.judge_header(self.resolved(header)["schema"], answer.headers[name.lower()])
        if "content" not in response:
            assert answer.text == "" and "content-type" not in answer.headers
            return
        kind = answer.headers["content-type"].split(";")[0]
        assert kind in response["content"], (answer.status, kind)
        value = json.loads(answer.text) if kind.endswith("json") else answer.text
        self.validator(response["content"][kind]["schema"]).validate(value)
        if kind == "application/problem+json":
            assert value["status"] == answer.status

    def judge_header(self, schema, text):
        self.validator(schema).validate(int(text) if schema["type"] == "integer" else text)
