#include "server/open_store.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/store/s3/s3_store.h"

namespace longtake::server {
namespace {

namespace fs = std::filesystem;

bool IsInBucket(const ServerOptions& options) { return absl::StartsWith(options.store, kS3Scheme); }

// An option of buckets that is given for a directory would be passed over in silence.
absl::Status CheckFit(const ServerOptions& options) {
  if (IsInBucket(options)) return absl::OkStatus();
  for (const auto& [name, value] : {std::pair{"store-endpoint", &options.s3.endpoint},
                                    {"store-credentials-file", &options.s3.credentials_file},
                                    {"store-ca", &options.s3.authorities}}) {
    if (value->empty()) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, ": is for a store in a bucket, s3://bucket/prefix"));
  }
  return absl::OkStatus();
}

absl::Status Denied(const fs::path& path, int mode) {
  if (access(path.c_str(), mode) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("store: ", path.string(), ": ", std::strerror(errno)));
}

// The server makes the directory where it is missing, but not those above it.
absl::Status CheckDirectory(const fs::path& directory) {
  std::error_code ignored;
  if (fs::is_directory(directory, ignored)) return Denied(directory, R_OK | W_OK | X_OK);
  if (fs::exists(directory, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat("store: ", directory.string(), ": is no directory"));
  }
  const fs::path above = fs::absolute(directory).lexically_normal().parent_path();
  if (!fs::is_directory(above, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat("store: ", above.string(), ": there is no such directory"));
  }
  return Denied(above, W_OK | X_OK);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenStore(const ServerOptions& options, Sharing sharing,
                                                 spdlog::logger* logger) {
  RETURN_IF_ERROR(CheckFit(options));
  if (!IsInBucket(options)) return OpenDirectoryStore(options.store, sharing);
  return OpenS3Store(options.store, sharing, options.s3, logger);
}

absl::Status CheckStore(const ServerOptions& options) {
  RETURN_IF_ERROR(CheckFit(options));
  if (options.store.empty()) return absl::OkStatus();
  if (!IsInBucket(options)) return CheckDirectory(options.store);
  RETURN_IF_ERROR(CheckS3Options(options.store, options.s3));
  const std::string& authorities = options.s3.authorities;
  if (authorities.empty() || access(authorities.c_str(), R_OK) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("store-ca: ", authorities, ": ", std::strerror(errno)));
}

}  // namespace longtake::server
