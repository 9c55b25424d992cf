#include "server/store/s3/folders.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake::server {
namespace {

// More than a server makes videos at once. A manifest of an hour's video has some hundred KiB, most have a few.
constexpr size_t kMostKnown = 256;

}  // namespace

std::string Folders::KeyOf(const std::string& folder) { return absl::StrCat("folders/", folder); }

absl::StatusOr<std::optional<Folders::Known>> Folders::Load(const std::string& folder) const {
  const std::string key = KeyOf(folder);
  absl::StatusOr<S3Client::Object> object = client_->Get(key);
  if (absl::IsNotFound(object.status())) return std::nullopt;
  RETURN_IF_ERROR(object.status());
  absl::StatusOr<Manifest> manifest = ParseManifest(object->bytes);
  if (!manifest.ok()) {
    return absl::DataLossError(absl::StrCat("store: ", client_->NameOf(key), ": ", manifest.status().message()));
  }
  return Known{std::make_shared<const Manifest>(*std::move(manifest)), std::move(object->etag)};
}

absl::StatusOr<std::shared_ptr<const Manifest>> Folders::Read(const std::string& folder, bool newest) const {
  uint64_t changes = 0;
  if (reads_memory_ && !newest) {
    if (const std::optional<Known> known = Remembered(folder); known.has_value()) return known->manifest;
  }
  {
    const MutexLock lock(mutex_);
    changes = changes_;
  }
  ASSIGN_OR_RETURN(std::optional<Known> known, Load(folder));
  if (!known.has_value()) return nullptr;
  std::shared_ptr<const Manifest> manifest = known->manifest;
  const MutexLock lock(mutex_);
  if (reads_memory_ && changes == changes_ && known_.size() < kMostKnown) known_[folder] = *std::move(known);
  return manifest;
}

absl::Status Folders::Apply(const std::string& folder, const Change& change) {
  const std::string key = KeyOf(folder);
  std::optional<Known> now = Remembered(folder);
  bool from_memory = now.has_value();
  std::string written;  // the revision of the last try
  while (true) {
    if (!from_memory) {
      ASSIGN_OR_RETURN(now, Load(folder));
      // The answer to the last try was lost, and it was carried out all the same.
      if (now.has_value() && now->manifest->revision == written) {
        Remember(folder, *std::move(now));
        return absl::OkStatus();
      }
    }
    absl::StatusOr<std::optional<Manifest>> next = change(now.has_value() ? now->manifest.get() : nullptr);
    if (!next.ok() || !next->has_value()) {
      if (!from_memory) return next.status();
      from_memory = false;  // it may have been changed since
      continue;
    }
    (*next)->revision = written = NewRevision();
    S3Client::Condition condition;
    if (now.has_value()) {
      condition.if_match = now->etag;
    } else {
      condition.if_absent = true;
    }
    absl::StatusOr<std::string> etag = client_->Put(key, ToText(**next), condition);
    if (etag.ok()) {
      Remember(folder, {std::make_shared<const Manifest>(**std::move(next)), *std::move(etag)});
      return absl::OkStatus();
    }
    Forget(folder);
    if (!absl::IsFailedPrecondition(etag.status())) return etag.status();
    from_memory = false;
  }
}

absl::Status Folders::Drop(const std::string& folder) {
  const absl::Status dropped = client_->Delete(KeyOf(folder));
  Forget(folder);
  return dropped;
}

std::optional<Folders::Known> Folders::Remembered(const std::string& folder) const {
  const MutexLock lock(mutex_);
  const auto found = known_.find(folder);
  if (found == known_.end()) return std::nullopt;
  return found->second;
}

void Folders::Remember(const std::string& folder, Known known) const {
  const MutexLock lock(mutex_);
  ++changes_;
  if (known_.size() >= kMostKnown) known_.clear();
  known_[folder] = std::move(known);
}

void Folders::Forget(const std::string& folder) const {
  const MutexLock lock(mutex_);
  ++changes_;
  known_.erase(folder);
}

}  // namespace longtake::server
