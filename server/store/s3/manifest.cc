#include "server/store/s3/manifest.h"

#include <nlohmann/json.hpp>
#include <span>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/json_depth.h"
#include "common/random_bytes.h"
#include "common/status_macros.h"
#include "server/store/names.h"

using nlohmann::json;

namespace longtake::server {
namespace {

constexpr int kVersion = 1;

uint32_t Checksum(const std::string& text) { return Crc32c(std::as_bytes(std::span(text))); }

// Throws where the value is anything but a whole number from 0 on.
uint64_t Whole(const json& value) { return value.get_ref<const json::number_unsigned_t&>(); }

std::string Sealed(const json& body) {
  return json({{"crc32c", Checksum(body.dump())}, {"version", kVersion}, {"body", body}}).dump();
}

// What `read` makes of the body. It may throw what the JSON library throws of a missing or wrong field.
template <typename T, typename Read>
absl::StatusOr<T> Unsealed(const std::string& text, Read read) {
  if (JsonNestsDeeper(text)) return absl::DataLossError("it nests deeper than any that was written");
  try {
    const json file = json::parse(text);
    if (file.at("version") != kVersion) {
      return absl::DataLossError(absl::StrCat("version ", file.at("version").dump(), " is not known"));
    }
    const json& body = file.at("body");
    if (file.at("crc32c") != Checksum(body.dump())) {
      return absl::DataLossError("its bytes have changed, the checksum differs");
    }
    return read(body);
  } catch (const json::exception& error) {
    return absl::DataLossError(absl::StrCat("it is none of this store's (JSON error ", error.id, ")"));
  }
}

}  // namespace

std::string NewRevision() { return absl::BytesToHexString(RandomBytes(16)); }

std::string ToText(const Manifest& manifest) {
  json files = json::object();
  for (const auto& [name, place] : manifest.files) files[name] = {place.object, place.offset, place.size};
  return Sealed({{"epoch", manifest.writer.epoch},
                 {"token", manifest.writer.token},
                 {"revision", manifest.revision},
                 {"files", std::move(files)}});
}

absl::StatusOr<Manifest> ParseManifest(const std::string& text) {
  ASSIGN_OR_RETURN(Manifest manifest, Unsealed<Manifest>(text, [](const json& body) {
                     Manifest read;
                     read.writer = {Whole(body.at("epoch")), Whole(body.at("token"))};
                     read.revision = body.at("revision");
                     for (const auto& [name, place] : body.at("files").items()) {
                       read.files[name] = {place.at(0), static_cast<int64_t>(Whole(place.at(1))),
                                           static_cast<int64_t>(Whole(place.at(2)))};
                     }
                     return read;
                   }));
  for (const auto& [name, place] : manifest.files) {
    const bool fits = place.offset >= 0 && place.size >= 0 && place.offset <= INT64_MAX - place.size &&
                      place.object.empty() == (place.size == 0);
    const bool named = CheckName(name).ok() && (place.object.empty() || CheckName(place.object).ok());
    if (!fits || !named) return absl::DataLossError("a file's name or place is none");
  }
  return manifest;
}

std::string ToText(const Ownership& ownership) {
  return Sealed({{"epoch", ownership.epoch}, {"shared", ownership.shared}, {"revision", ownership.revision}});
}

absl::StatusOr<Ownership> ParseOwnership(const std::string& text) {
  return Unsealed<Ownership>(text, [](const json& body) {
    return Ownership{Whole(body.at("epoch")), body.at("shared").get<bool>(), body.at("revision")};
  });
}

}  // namespace longtake::server
