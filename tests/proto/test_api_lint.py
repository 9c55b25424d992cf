"""The API's files, and those of the policy's service, against buf's STANDARD rules and those of aip.dev that the API follows,
from protoc's descriptors.

Exceptions stand in the tables at the top, with their reasons.
"""

import collections
import pathlib
import re
import shutil
import subprocess

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_ROOT = pathlib.Path(__file__).parents[2] / "proto"
_FILES = sorted(str(path.relative_to(_ROOT)) for path in (_ROOT / "longtake").rglob("*.proto"))

# Methods whose answer is not named after them (buf RPC_RESPONSE_STANDARD_NAME, RPC_REQUEST_RESPONSE_UNIQUE).
_ANSWERS = {
    "CreateVideo": "longtake.v1.Video",  # AIP-133: standard methods return the resource
    "GetVideo": "longtake.v1.Video",  # AIP-131
    "CancelVideo": "longtake.v1.Video",  # AIP-136: a custom method may return the resource that it acts on
    "ForkVideo": "longtake.v1.Video",  # AIP-136
    "DeleteVideo": "google.protobuf.Empty",  # AIP-135
    "GetModel": "longtake.v1.Model",  # AIP-131
    "GenerateVideo": "longtake.v1.WatchVideoResponse",  # it is CreateVideo and WatchVideo in one call
}
_SCALARS_WITHOUT_SIGN = {
    descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    descriptor_pb2.FieldDescriptorProto.TYPE_FIXED32,
    descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64,
}
_LOWER_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_UPPER_SNAKE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_PASCAL = re.compile(r"([A-Z][a-z0-9]*)+")


class Api:
    """Descriptors of longtake.v1, with the google.api options resolved."""

    def __init__(self, directory=_ROOT, names=_FILES):
        protoc = shutil.which("protoc")
        if protoc is None:
            pytest.fail("protoc is not installed; scripts/install.sh installs it")
        out = subprocess.run(
            [protoc, "-I", directory, "--include_imports", "--include_source_info", "-o", "/dev/stdout", *names],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        everything = descriptor_pb2.FileDescriptorSet.FromString(out)
        self.files = [file for file in everything.file if file.name in names]
        self.pool = descriptor_pool.DescriptorPool()
        for file in everything.file:
            self.pool.AddSerializedFile(file.SerializeToString())
        self.messages = {}  # full name to (descriptor, path of its comment, file)
        self.enums = {}
        self.comments = {}
        for file in self.files:
            self.comments[file.name] = {
                tuple(place.path): (place.leading_comments + place.trailing_comments).strip()
                for place in file.source_code_info.location
            }
            for index, message in enumerate(file.message_type):
                self._add(file, message, f"{file.package}.{message.name}", (4, index))
            for index, enum in enumerate(file.enum_type):
                self.enums[f"{file.package}.{enum.name}"] = (enum, (5, index), file)

    def _add(self, file, message, name, path):
        self.messages[name] = (message, path, file)
        for index, inner in enumerate(message.nested_type):
            self._add(file, inner, f"{name}.{inner.name}", (*path, 3, index))
        for index, enum in enumerate(message.enum_type):
            self.enums[f"{name}.{enum.name}"] = (enum, (*path, 4, index), file)

    def option(self, descriptor, kind, extension):
        """Value of a google.api option; None where it is not set."""
        options = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"google.protobuf.{kind}"))
        parsed = options.FromString(descriptor.options.SerializeToString())
        field = self.pool.FindExtensionByName(f"google.api.{extension}")
        if field.is_repeated:
            return list(parsed.Extensions[field]) or None
        return parsed.Extensions[field] if parsed.HasExtension(field) else None

    def fields(self):
        for name, (message, path, file) in self.messages.items():
            for index, field in enumerate(message.field):
                yield f"{name}.{field.name}", field, (*path, 2, index), file

    def methods(self):
        for file in self.files:
            for index, service in enumerate(file.service):
                for number, method in enumerate(service.method):
                    yield service, method, (6, index, 2, number), file


@pytest.fixture(scope="module")
def api():
    return Api()


def _words(name):
    """UPPER_SNAKE of a PascalCase name."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def files(api):
    """buf: packages, directories, file names and options; AIP-191."""
    for file in api.files:
        assert file.syntax == "proto3", file.name
        assert re.fullmatch(r"[a-z]+(\.[a-z]+)*\.v[0-9]+", file.package), f"{file.name}: PACKAGE_VERSION_SUFFIX"
        folder, base = file.name.rsplit("/", 1)
        assert folder == file.package.replace(".", "/"), f"{file.name}: PACKAGE_DIRECTORY_MATCH"
        assert _LOWER_SNAKE.fullmatch(base.removesuffix(".proto")), f"{file.name}: FILE_LOWER_SNAKE_CASE"
        assert not file.public_dependency and not file.weak_dependency, f"{file.name}: IMPORT_NO_PUBLIC, IMPORT_NO_WEAK"
        assert file.options.java_multiple_files, f"{file.name}: java_multiple_files"
        assert file.options.java_outer_classname, f"{file.name}: java_outer_classname"
    for option in ("go_package", "java_package", "csharp_namespace"):
        values = {(file.package, getattr(file.options, option)) for file in api.files}
        assert all(value for _, value in values), f"{option} is missing in a file"
        assert len(values) == len({package for package, _ in values}), f"PACKAGE_SAME_{option.upper()}"


def imports(api):
    """buf: IMPORT_USED."""
    for file in api.files:
        used = set()
        types = [f for _, f, _, of in api.fields() if of is file]
        names = [f.type_name for f in types if f.type_name]
        for _, method, _, of in api.methods():
            if of is file:
                names += [method.input_type, method.output_type]
                if api.option(method, "MethodOptions", "http"):
                    used.add("google/api/annotations.proto")
        for field in types:
            if api.option(field, "FieldOptions", "field_behavior"):
                used.add("google/api/field_behavior.proto")
            if api.option(field, "FieldOptions", "resource_reference"):
                used.add("google/api/resource.proto")
        for message, _, of in api.messages.values():
            if of is file and api.option(message, "MessageOptions", "resource"):
                used.add("google/api/resource.proto")
        for name in names:
            try:
                used.add(api.pool.FindMessageTypeByName(name[1:]).file.name)
            except KeyError:
                used.add(api.pool.FindEnumTypeByName(name[1:]).file.name)
        assert set(file.dependency) == used - {file.name}, f"{file.name}: IMPORT_USED"


def names(api):
    """buf: cases of names; enum prefixes and zero values."""
    for name, (message, _, _) in api.messages.items():
        assert _PASCAL.fullmatch(message.name), f"{name}: MESSAGE_PASCAL_CASE"
        for oneof in message.oneof_decl:
            assert _LOWER_SNAKE.fullmatch(oneof.name.removeprefix("_")), f"{name}.{oneof.name}: ONEOF_LOWER_SNAKE_CASE"
    for name, field, _, _ in api.fields():
        assert _LOWER_SNAKE.fullmatch(field.name), f"{name}: FIELD_LOWER_SNAKE_CASE"
    for name, (enum, _, _) in api.enums.items():
        assert _PASCAL.fullmatch(enum.name), f"{name}: ENUM_PASCAL_CASE"
        assert not enum.options.allow_alias, f"{name}: ENUM_NO_ALLOW_ALIAS"
        prefix = _words(enum.name) + "_"
        assert enum.value[0].number == 0, f"{name}: ENUM_FIRST_VALUE_ZERO"
        assert enum.value[0].name == f"{prefix}UNSPECIFIED", f"{name}: ENUM_ZERO_VALUE_SUFFIX"
        for value in enum.value:
            assert _UPPER_SNAKE.fullmatch(value.name), f"{name}.{value.name}: ENUM_VALUE_UPPER_SNAKE_CASE"
            assert value.name.startswith(prefix), f"{name}.{value.name}: ENUM_VALUE_PREFIX"


def rpcs(api):
    """buf: names of services, methods, requests and answers."""
    uses = collections.Counter()
    for service, method, _, file in api.methods():
        assert _PASCAL.fullmatch(service.name) and service.name.endswith("Service"), f"{service.name}: SERVICE_SUFFIX"
        assert _PASCAL.fullmatch(method.name), f"{method.name}: RPC_PASCAL_CASE"
        assert method.input_type == f".{file.package}.{method.name}Request", f"{method.name}: RPC_REQUEST_STANDARD_NAME"
        answer = _ANSWERS.get(method.name, f"{file.package}.{method.name}Response")
        assert method.output_type == f".{answer}", f"{method.name}: RPC_RESPONSE_STANDARD_NAME"
        uses[method.input_type] += 1
        if method.name not in _ANSWERS:
            uses[method.output_type] += 1
    assert max(uses.values()) == 1, f"{uses.most_common(1)}: RPC_REQUEST_RESPONSE_UNIQUE"


def numbers(api):
    """Field numbers are 1, 2, 3, ... without a gap; one-byte tags for up to 15. A value that is gone reserves its number."""
    for name, (message, _, _) in api.messages.items():
        assert [field.number for field in message.field] == list(range(1, len(message.field) + 1)), name
    for name, (enum, _, _) in api.enums.items():
        gone = [number for each in enum.reserved_range for number in range(each.start, each.end + 1)]
        used = sorted(gone + [value.number for value in enum.value])
        assert used == list(range(len(used))), name
        assert len(enum.reserved_name) == len(gone), f"{name}: the names of reserved numbers are reserved too"


def types(api):
    """AIP-141 (no unsigned numbers; 64-bit ones that JSON must keep are strings), 142 (time), 203 (behaviour)."""
    for name, field, _, _ in api.fields():
        assert field.type not in _SCALARS_WITHOUT_SIGN, f"{name}: AIP-141"
        assert not re.search(r"(seconds|millis|_ms|_us)$", field.name), f"{name}: AIP-142: a Duration or Timestamp"
        if field.type_name == ".google.protobuf.Duration":
            assert re.search(r"(duration|_offset|_delay|_timeout)$", field.name) or name.startswith(
                "longtake.v1.StageDurations."
            ), f"{name}: AIP-142: names of durations"
        if field.type_name == ".google.protobuf.Timestamp":
            assert field.name.endswith("_time"), f"{name}: AIP-142: names of timestamps"
        if name.endswith("Request." + field.name):
            behavior = api.option(field, "FieldOptions", "field_behavior")
            in_oneof = field.HasField("oneof_index") and not field.proto3_optional
            assert behavior or in_oneof, f"{name}: AIP-203: field_behavior"


def resources(api):
    """AIP-122, 123, 131 to 136, 158."""
    declared = {}
    for name, (message, _, _) in api.messages.items():
        resource = api.option(message, "MessageOptions", "resource")
        if resource is None:
            continue
        declared[resource.type] = resource
        assert resource.type == f"longtake/{message.name}", f"{name}: AIP-123"
        assert list(resource.pattern) == [f"{resource.plural}/{{{resource.singular}}}"], f"{name}: AIP-122"
        assert message.field[0].name == "name", f"{name}: AIP-122: the name is the first field"
    assert set(declared) == {"longtake/Video", "longtake/Model"}
    for name, field, _, _ in api.fields():
        reference = api.option(field, "FieldOptions", "resource_reference")
        assert reference is None or reference.type in declared, f"{name}: AIP-124"
    for _, method, _, file in api.methods():
        if file.package != "longtake.v1":
            continue  # the policy's service has no resources, and is called over gRPC alone
        request = api.messages[method.input_type[1:]][0]
        by_name = {field.name: field for field in request.field}
        http = api.option(method, "MethodOptions", "http")
        assert http is not None, f"{method.name}: AIP-127: google.api.http"
        verb = http.WhichOneof("pattern")
        path = getattr(http, verb)
        collection = "models" if method.name.endswith(("Model", "Models")) else "videos"
        if "name" in by_name:
            assert request.field[0].name == "name", f"{method.name}: the name is the first field"
            assert api.option(by_name["name"], "FieldOptions", "resource_reference"), f"{method.name}: AIP-131"
            assert path.startswith(f"/v1/{{name={collection}/*}}"), f"{method.name}: AIP-127"
        else:
            assert path.startswith(f"/v1/{collection}"), f"{method.name}: AIP-127"
        standard = {"Get": "get", "List": "get", "Create": "post", "Delete": "delete"}
        kind = re.match(r"Get|List|Create|Delete|", method.name)[0]
        if kind:
            assert verb == standard[kind] and ":" not in path, f"{method.name}: AIP-131 to 135"
        else:
            assert ":" in path, f"{method.name}: AIP-136"
        assert (http.body == "*") == (verb == "post"), f"{method.name}: AIP-127: body"
        if kind == "List":
            assert [field.name for field in request.field[:2]] == ["page_size", "page_token"], f"{method.name}: AIP-158"
            answer = api.messages[method.output_type[1:]][0]
            assert [field.name for field in answer.field[:2]] == [collection, "next_page_token"], f"{method.name}: AIP-158"


def bindings(api):
    """AIP-127: no request of HTTP is two methods'. The server's own HTTP port has other paths; docs/envoy.md."""
    seen = {}
    for _, method, _, file in api.methods():
        if file.package != "longtake.v1":
            continue  # as in resources()
        http = api.option(method, "MethodOptions", "http")
        verb = http.WhichOneof("pattern")
        path = getattr(http, verb)
        # What a path binds matters to nobody who compares requests: {name=videos/*} is any videos/*.
        request = (verb, re.sub(r"\{\w+=([^}]*)\}", r"\1", path))
        assert request not in seen, f"{method.name}: AIP-127: {verb} {path} is {seen[request]}"
        seen[request] = method.name
        requested = api.messages[method.input_type[1:]][0]
        bound = set(re.findall(r"\{(\w+)=", path))
        assert bound <= {field.name for field in requested.field}, f"{method.name}: AIP-127: {path} binds no field"
        # A collection's custom method, videos:quote, is no video's name: * stands for no ":".
        assert path.count(":") <= 1 and not path.endswith(":"), f"{method.name}: AIP-136: {path}"


def comments(api):
    """AIP-192: everything has a comment, and it ends with a full stop."""

    def check(file, path, name):
        text = api.comments[file.name].get(path, "")
        assert text, f"{name}: AIP-192: no comment"
        assert text[-1] in ".)", f"{name}: its comment is no sentence: {text[-40:]}"

    for name, (message, path, file) in api.messages.items():
        check(file, path, name)
        for index, field in enumerate(message.field):
            check(file, (*path, 2, index), f"{name}.{field.name}")
    for name, (enum, path, file) in api.enums.items():
        check(file, path, name)
        for index, value in enumerate(enum.value):
            check(file, (*path, 2, index), f"{name}.{value.name}")
    for service, method, path, file in api.methods():
        check(file, path, f"{service.name}.{method.name}")
        check(file, path[:2], service.name)


_RULES = [files, imports, names, rpcs, numbers, types, resources, bindings, comments]


@pytest.mark.parametrize("rule", _RULES, ids=lambda rule: rule.__name__)
def test_the_api_follows(rule, api):
    rule(api)


# One edit for each rule that must make it fail.
_FAULTS = [
    (files, "resources.proto", 'option go_package = "longtake/v1;longtakev1";', ""),
    (files, "errors.proto", "java_multiple_files = true", "java_multiple_files = false"),
    (imports, "model_service.proto", "\nimport", '\nimport "google/protobuf/any.proto";\nimport'),
    (names, "resources.proto", "DELIVERY_LIVE = 1", "LIVE = 1"),
    (names, "resources.proto", "int32 width = 1", "int32 pictureWidth = 1"),
    (rpcs, "video_service.proto", "returns (QuoteVideoResponse)", "returns (ChangePromptResponse)"),
    (numbers, "events.proto", "int32 position = 1", "int32 position = 32"),
    (types, "resources.proto", "int64 frame_count = 3", "uint64 frame_count = 3"),
    (types, "events.proto", "google.protobuf.Duration wait_duration = 6", "double waited_seconds = 6"),
    (resources, "video_service.proto", 'option (google.api.http) = {get: "/v1/{name=videos/*}"};', ""),
    (resources, "video_service.proto", "string next_page_token = 2;", "string next = 2;"),
    (bindings, "video_service.proto", "{name=videos/*}:fork", "{name=videos/*}:cancel"),
    (bindings, "video_service.proto", "{name=videos/*}:fork", "{video=videos/*}:fork"),
    (comments, "resources.proto", "// Above 0.", ""),
]  # fmt: skip


@pytest.mark.parametrize("rule,file,old,new", _FAULTS, ids=lambda part: getattr(part, "__name__", None))
def test_a_fault_is_found(rule, file, old, new, tmp_path):
    shutil.copytree(_ROOT, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "longtake/v1" / file
    text = path.read_text()
    assert old in text, "the edit no longer fits the file"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(AssertionError):
        rule(Api(tmp_path))
