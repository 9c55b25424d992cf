// What a folder of a store in S3 has, and who may write it. One object says so, and every change of the folder is a
// conditional write of this object.
#ifndef LONGTAKE_SERVER_STORE_S3_MANIFEST_H_
#define LONGTAKE_SERVER_STORE_S3_MANIFEST_H_

#include <compare>
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace longtake::server {

// Of two writers the one with the larger rank holds. The epoch counts how often the store was opened by a server that
// has it alone; the token is the registry's, or 0.
struct WriterRank {
  uint64_t epoch = 0, token = 0;
  auto operator<=>(const WriterRank&) const = default;
};

struct Manifest {
  // Where a file's bytes are.
  struct Place {
    std::string object;            // below the folder's objects; empty: the file is empty
    int64_t offset = 0, size = 0;  // bytes
    bool operator==(const Place&) const = default;
  };
  WriterRank writer;
  // Random in every manifest that was ever written, so that no two have the same etag: a condition that was once
  // overtaken never holds again.
  std::string revision;
  std::map<std::string, Place> files;  // by their names in the folder
};

std::string NewRevision();
// JSON with a version and a checksum, as the store's other files.
std::string ToText(const Manifest& manifest);
// DataLoss says what is wrong with it.
absl::StatusOr<Manifest> ParseManifest(const std::string& text);

// Who has the store.
struct Ownership {
  uint64_t epoch = 0;
  bool shared = false;  // servers with a registry, else one alone
  std::string revision;
};
std::string ToText(const Ownership& ownership);
absl::StatusOr<Ownership> ParseOwnership(const std::string& text);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_MANIFEST_H_
