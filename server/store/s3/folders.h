// The manifests of a store's folders, and their changes.
#ifndef LONGTAKE_SERVER_STORE_S3_FOLDERS_H_
#define LONGTAKE_SERVER_STORE_S3_FOLDERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "server/store/s3/client.h"
#include "server/store/s3/manifest.h"

namespace longtake::server {

// Thread-safe; but one thread at a time changes a folder.
class Folders {
 public:
  // Given the folder as it is (null: there is none), returns what it shall be, or nothing: it stays, or an error. May
  // be called several times, and what it returned last is what has happened.
  using Change = std::function<absl::StatusOr<std::optional<Manifest>>(const Manifest* now)>;

  // `reads_memory`: reading may use what this process read or wrote last, since nobody else writes. `client` outlives
  // it.
  Folders(const S3Client* client, bool reads_memory) : client_(client), reads_memory_(reads_memory) {}

  // Null: there is no such folder. `newest`: not from memory.
  absl::StatusOr<std::shared_ptr<const Manifest>> Read(const std::string& folder, bool newest = false) const;
  // Carries the change out, at once and only if nobody else has changed the folder since `change` saw it; else it asks
  // `change` again.
  absl::Status Apply(const std::string& folder, const Change& change);
  // The folder is gone.
  absl::Status Drop(const std::string& folder);

  static std::string KeyOf(const std::string& folder);

 private:
  struct Known {
    std::shared_ptr<const Manifest> manifest;
    std::string etag;
  };

  // Nothing: there is no such folder.
  absl::StatusOr<std::optional<Known>> Load(const std::string& folder) const;
  std::optional<Known> Remembered(const std::string& folder) const;
  void Remember(const std::string& folder, Known known) const;
  void Forget(const std::string& folder) const;

  const S3Client* const client_;
  const bool reads_memory_;
  mutable Mutex mutex_;
  mutable std::map<std::string, Known> known_ ABSL_GUARDED_BY(mutex_);
  // Of changes by this process. What was read before one of them may be older than what is remembered.
  mutable uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_STORE_S3_FOLDERS_H_
