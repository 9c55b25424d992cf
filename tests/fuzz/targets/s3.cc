// What a store in S3 reads: lists and errors of the service, manifests, keys, the address. The first line says which.
// Manifests get a checksum that holds, for no mutation finds one.
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "common/crc32c.h"
#include "common/json_depth.h"
#include "server/store/s3/address.h"
#include "server/store/s3/answers.h"
#include "server/store/s3/credentials.h"
#include "server/store/s3/manifest.h"
#include "tests/fuzz/check.h"

namespace longtake::server {
namespace {

using fuzz::Check;

// `body` in the form in which the store has it. What is no JSON, or is too deep to be printed, stays as it is.
std::string Sealed(const std::string& body) {
  const nlohmann::json parsed = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded() || JsonNestsDeeper(body, 1000)) return body;
  try {
    const std::string text = parsed.dump();
    const uint32_t sum = Crc32c(std::as_bytes(std::span(text)));
    return nlohmann::json({{"version", 1}, {"crc32c", sum}, {"body", parsed}}).dump();
  } catch (const nlohmann::json::exception&) {  // text that is no UTF-8
    return body;
  }
}

void ReadManifest(const std::string& text) {
  const absl::StatusOr<Manifest> manifest = ParseManifest(text);
  if (!manifest.ok()) return Check(absl::IsDataLoss(manifest.status()), "a manifest is another error than DataLoss");
  const absl::StatusOr<Manifest> again = ParseManifest(ToText(*manifest));
  Check(again.ok() && again->writer == manifest->writer && again->files == manifest->files,
        "a manifest is another one when it is read again");
  for (const auto& [name, place] : manifest->files) {
    Check(place.offset >= 0 && place.size >= 0 && place.offset + place.size >= place.offset, "a file is nowhere");
  }
}

void ReadOwnership(const std::string& text) {
  const absl::StatusOr<Ownership> ownership = ParseOwnership(text);
  if (!ownership.ok()) return;
  const absl::StatusOr<Ownership> again = ParseOwnership(ToText(*ownership));
  Check(again.ok() && again->epoch == ownership->epoch && again->shared == ownership->shared,
        "an owner is another one when it is read again");
}

void ReadKeys(const std::string& text) {
  const absl::StatusOr<AwsCredentials> keys = ParseCredentials(text);
  if (!keys.ok()) return;
  for (const std::string* value : {&keys->key_id, &keys->secret, &keys->session_token}) {
    Check(value->find_first_of("\r\n") == std::string::npos, "a key ends a header's line");
  }
}

// A URL, and an endpoint in the next line.
void ReadAddress(const std::string& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string endpoint = text.substr(std::min(end + 1, text.size()));
  const absl::StatusOr<S3Address> address = ParseS3Address(text.substr(0, end), endpoint, "us-east-1");
  if (!address.ok()) return;
  const std::string url = address->scheme + "://" + address->host + address->path + address->prefix;
  Check(!address->host.empty() && url.find_first_of(" \r\n?#@%") == std::string::npos,
        "an address is no part of a URL");
}

}  // namespace
}  // namespace longtake::server

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const longtake::fuzz::Input input = longtake::fuzz::SplitKind(longtake::fuzz::ToText(data, size));
  const std::string rest(input.rest);
  if (input.kind == "list") (void)longtake::server::ParseListing(rest);
  if (input.kind == "error") (void)longtake::server::ParseError(rest);
  if (input.kind == "manifest") longtake::server::ReadManifest(longtake::server::Sealed(rest));
  if (input.kind == "owner") longtake::server::ReadOwnership(longtake::server::Sealed(rest));
  if (input.kind == "keys") longtake::server::ReadKeys(rest);
  if (input.kind == "address") longtake::server::ReadAddress(rest);
  return 0;
}
