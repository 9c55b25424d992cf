#!/usr/bin/python3
"""A plugin of protoc that makes the client's types and methods from proto/longtake/v1.

http.toml, beside this file, says what the HTTP port's JSON has for each field. Three files are written: api.ts, the types;
methods.ts; and shapes.json, the types again for tests that compare them with what a server sends. A table that does not fit the
proto ends protoc with all that is wrong.
"""

import json
import re
import sys
import textwrap
import tomllib
from pathlib import Path

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

PACKAGE = "longtake.v1."
SCALARS = {
    Field.TYPE_STRING: "string",
    Field.TYPE_BOOL: "boolean",
    Field.TYPE_BYTES: "Uint8Array",
    Field.TYPE_INT32: "number",
    Field.TYPE_INT64: "number",
    Field.TYPE_DOUBLE: "number",
}
# Messages that this JSON has as one value: seconds, seconds since 1970, "256x160", frames a second.
VALUES = {
    "google.protobuf.Duration": "number",
    "google.protobuf.Timestamp": "number",
    "Size": "`${number}x${number}`",
    "FrameRate": "number",
}
REQUIRED = 2  # google.api.FieldBehavior


class Api:
    """The proto's fields, enums and methods by their names without the package: "VideoSpec.prompt", "VideoService.GetVideo"."""

    def __init__(self, request: plugin_pb2.CodeGeneratorRequest) -> None:
        self.messages, self.fields, self.enums, self.methods, self.comments = {}, {}, {}, {}, {}
        pool = descriptor_pool.DescriptorPool()
        for file in request.proto_file:
            pool.AddSerializedFile(file.SerializeToString())
        self._pool = pool
        self._factory = message_factory.MessageFactory(pool)
        for file in request.proto_file:
            if file.name in request.file_to_generate:
                self._add_file(file)

    def _add_file(self, file) -> None:
        texts = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

        def comment(name: str, *path: int) -> None:
            self.comments[name] = " ".join(texts.get(path, "").split())

        def add_enum(enum, name: str, *path: int) -> None:
            self.enums[name] = [value.name for value in enum.value if value.number != 0]
            comment(name, *path)
            for index, value in enumerate(enum.value):
                comment(f"{name}.{value.name}", *path, 2, index)

        for index, message in enumerate(file.message_type):
            self.messages[message.name] = [field.name for field in message.field]
            comment(message.name, 4, index)
            for number, field in enumerate(message.field):
                self.fields[f"{message.name}.{field.name}"] = field
                comment(f"{message.name}.{field.name}", 4, index, 2, number)
            for number, enum in enumerate(message.enum_type):
                add_enum(enum, f"{message.name}.{enum.name}", 4, index, 4, number)
        for index, enum in enumerate(file.enum_type):
            add_enum(enum, enum.name, 5, index)
        for index, service in enumerate(file.service):
            for number, method in enumerate(service.method):
                self.methods[f"{service.name}.{method.name}"] = method
                comment(f"{service.name}.{method.name}", 6, index, 2, number)

    def option(self, options, name: str):
        """The value of a google.api option, which plain descriptors hold as unknown bytes."""
        kind = self._factory.GetPrototype(self._pool.FindMessageTypeByName(options.DESCRIPTOR.full_name))
        return kind.FromString(options.SerializeToString()).Extensions[self._pool.FindExtensionByName(f"google.api.{name}")]


class Generator:
    def __init__(self, api: Api, table: dict) -> None:
        self.api, self.table = api, table
        self.faults: list[str] = []
        self.used = set(table["left_out"])
        self.shapes: dict[str, dict] = {}
        self.imported: set[str] = set()  # by the methods
        self.names: dict[str, tuple[str, str]] = {}  # of a field of the proto: its type and field here
        self.types_of: dict[str, str] = {}  # of a message or an enum of the proto: its type here
        for name, entry in [*table["types"].items(), *table["enums"].items()]:
            if "of" in entry:
                self.types_of.setdefault(entry["of"], name)
            for field, row in entry.get("fields", {}).items():
                if "of" in row:
                    self.names.setdefault(row["of"], (name, field))

    def check(self, what: str, known, used: str) -> bool:
        if used not in known:
            self.faults.append(f"{what}: the proto has no {used}")
        return used in known

    # ---- Comments.

    def in_our_names(self, text: str, place: str) -> str:
        """A comment of the proto with the names that its fields have here."""
        plain = {of.split(".")[1]: field for of, (_, field) in self.names.items()}
        unknown = {name.split(".")[1] for name in self.api.fields} - {name for _, name in self.names.values()} - set(plain)

        def field(match: re.Match) -> str:
            if match[0] in self.names:
                return ".".join(self.names[match[0]])
            if match[0] in self.api.fields:
                self.faults.append(f"{place}: its comment speaks of {match[0]}, which is not here; give it a doc")
            return match[0]

        def quoted(match: re.Match) -> str:
            if match[1] in unknown:
                self.faults.append(f"{place}: its comment speaks of {match[1]}, which is not here; give it a doc")
            return f"`{plain.get(match[1], match[1])}`"

        for enum, values in self.api.enums.items():
            if enum != "ErrorReason" and any(re.search(rf"\b{value}\b", text) for value in values):
                self.faults.append(f"{place}: its comment speaks of a value of {enum}; give it a doc")
        return re.sub(r"`(\w+)`", quoted, re.sub(r"\b[A-Z]\w+\.[a-z]\w+\b", field, text))

    def comment(self, entry: dict, of: str | None, place: str, indent: str = "") -> str:
        text = entry["doc"] if "doc" in entry else self.in_our_names(self.api.comments.get(of, ""), place) if of else ""
        if not text:
            self.faults.append(f"{place}: has no comment")
        lines = textwrap.wrap(text.replace("*/", "* /"), 118 - len(indent))
        if len(lines) == 1:
            return f"{indent}/** {lines[0]} */\n"
        return f"{indent}/**\n" + "".join(f"{indent} * {line}\n" for line in lines) + f"{indent} */\n"

    # ---- Types.

    def type_of(self, field: Field, place: str) -> str:
        name = field.type_name.lstrip(".").removeprefix(PACKAGE)
        found = SCALARS.get(field.type) or VALUES.get(name) or self.types_of.get(name)
        if found is None:
            self.faults.append(f"{place}: no type here is made of {name or field.type}; give it a type")
        return f"{found}[]" if field.label == Field.LABEL_REPEATED else str(found)

    def field(self, type_name: str, name: str, row: dict, is_request: bool) -> str:
        place, of = f"{type_name}.{name}", row.get("of")
        optional = row.get("optional", False)
        kind = row.get("type", "unknown")
        if of is not None and self.check(place, self.api.fields, of):
            self.used |= {of, of.split(".")[0]}
            field = self.api.fields[of]
            kind = row.get("type") or self.type_of(field, place)
            if is_request:
                optional = row.get("optional", REQUIRED not in self.api.option(field.options, "field_behavior"))
        self.shapes[type_name]["fields"][name] = {"type": kind, "optional": optional}
        return f"{self.comment(row, of, place, '  ')}  {name}{'?' if optional else ''}: {kind};\n"

    def type(self, name: str, entry: dict) -> str:
        comment = self.comment(entry, entry.get("of"), name)
        if "alias" in entry:
            return f"{comment}export type {name} = {entry['alias']};\n"
        base = entry.get("extends")
        self.shapes[name] = {"extends": base, "fields": {}}
        is_request = entry["kind"] == "request"
        fields = "".join(self.field(name, field, row, is_request) for field, row in entry["fields"].items())
        if "of" in entry and self.check(name, self.api.messages, entry["of"]):
            self.used.add(entry["of"])
        return f"{comment}export interface {name}{f' extends {base}' if base else ''} {{\n{fields}}}\n"

    def enum(self, name: str, entry: dict) -> str:
        of = entry["of"]
        if not self.check(name, self.api.enums, of):
            return ""
        known = self.api.enums[of]
        words = entry.get("values") or {value: value.removeprefix(entry["prefix"]) for value in known}
        for value in set(known) ^ set(words):
            self.faults.append(f"{name}: {value} is not both in the proto and in the table")
        members = {}
        for value, word in words.items():
            place = f"{name}.{value}"
            # A reason's status code is gRPC's, and so is its metadata.
            plain = re.sub(r"^\[[A-Z_]+\] |Metadata: .*", "", self.api.comments.get(f"{of}.{value}", ""))
            text = entry.get("docs", {}).get(value) or self.in_our_names(plain.strip(), place)
            members[word] = f"{members[word]} {text}" if word in members else text
        lines = "".join(f"{self.comment({'doc': doc}, None, name, '  ')}  | '{word}'\n" for word, doc in members.items())
        self.shapes[name] = {"values": list(members)}
        return f"{self.comment(entry, of, name)}export type {name} =\n{lines.rstrip()};\n"

    # ---- Methods.

    def method(self, name: str, entry: dict) -> str:
        rpc = entry["rpc"]
        if not self.check(name, self.api.methods, rpc):
            return ""
        self.used.add(rpc)
        self.imported |= {entry[part] for part in ("body", "query", "answer") if part in entry}
        verb = self.api.option(self.api.methods[rpc].options, "http").WhichOneof("pattern").upper()
        arguments, path, send = [], f"'{entry['path']}'", []
        if "{id}" in entry["path"]:
            arguments.append("video: VideoRef")
            path = f"`{entry['path'].replace('{id}', '${idOf(video)}')}`"
        if "body" in entry:
            arguments.append(f"request: {entry['body']}")
            send.append("body: request")
        elif verb == "POST":
            send.append("body: {}")
        if "query" in entry:
            arguments.append(f"query: {entry['query']} = {{}}")
            send.append("query: {...query}")
        arguments.append("options?: CallOptions")
        head = f"  {name}({', '.join(arguments)}): Promise<{entry['answer']}> {{\n"
        options = f"{{...options, {', '.join(send)}}}" if send else "{...options}"
        return f"{self.comment(entry, rpc, name, '  ')}{head}    return this.call('{verb}', {path}, {options});\n  }}\n"

    def unused(self) -> None:
        """What is neither used nor left out, and what is left out without being there."""
        api, used = self.api, self.used
        names = {*api.messages, *api.fields, *api.methods}
        for name in self.table["left_out"]:
            self.check("left_out", names, name)
        used |= set(VALUES)
        for message, fields in api.messages.items():
            if message not in used:
                self.faults.append(f"{message} is neither used nor left out")
            elif message not in VALUES and message not in self.table["left_out"]:
                self.faults += [f"{message}.{f} is neither used nor left out" for f in fields if f"{message}.{f}" not in used]
        self.faults += [f"{method} is neither used nor left out" for method in api.methods if method not in used]

    def files(self) -> dict[str, str]:
        title = "// Made by generate.py from proto/longtake/v1 and http.toml.\n"
        types = [self.type(name, entry) for name, entry in self.table["types"].items()]
        enums = [self.enum(name, entry) for name, entry in self.table["enums"].items()]
        methods = [self.method(name, entry) for name, entry in self.table["methods"].items()]
        self.unused()
        imports = (
            "import {idOf} from '../http.js';\n"
            "import type {CallOptions, Outgoing, VideoRef} from '../http.js';\n"
            f"import type {{{', '.join(sorted(self.imported))}}} from './api.js';\n"
        )
        head = (
            "/** What is asked and answered once. */\n"
            "export abstract class Methods {\n"
            "  protected abstract call<Answer>(verb: string, path: string, outgoing: Outgoing): Promise<Answer>;\n"
        )
        return {
            "api.ts": "\n".join([title, *types, *enums]),
            "methods.ts": "\n".join([title + imports, head, "\n".join(methods)]) + "}\n",
            "shapes.json": json.dumps(self.shapes, indent=1),
        }


def main() -> None:
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    table = tomllib.loads((Path(__file__).parent / "http.toml").read_text())
    generator = Generator(Api(request), table)
    response = plugin_pb2.CodeGeneratorResponse(supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    files = generator.files()
    if generator.faults:
        response.error = "\n".join(["http.toml does not fit the proto:", *generator.faults])
    else:
        for name, content in files.items():
            response.file.add(name=name, content=content)
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
