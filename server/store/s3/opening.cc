#include "server/store/s3/opening.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/store/s3/folders.h"
#include "server/store/s3/manifest.h"

namespace longtake::server {
namespace {

constexpr char kOwner[] = "owner", kObjects[] = "objects/";
// Of no object.
constexpr char kOtherEtag[] = "\"00000000000000000000000000000000\"";

// Whether a write was refused for its condition.
absl::StatusOr<bool> IsRefused(const absl::Status& status) {
  if (status.ok() || absl::IsFailedPrecondition(status)) return !status.ok();
  return status;
}

// Below `folder`, which is empty or ends with '/', the objects of folders without a manifest. `manifests`: sorted;
// those of folders that need not be looked at.
absl::Status SweepBelow(const S3Client& client, const std::string& folder, const std::vector<std::string>& manifests) {
  const std::string begin = absl::StrCat(kObjects, folder);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, client.List(begin, /*deep=*/false));
  std::vector<std::string> objects;
  for (const std::string& name : names) {
    if (!absl::EndsWith(name, "/")) {
      objects.push_back(name);
    } else if (!std::binary_search(manifests.begin(), manifests.end(), folder + name.substr(0, name.size() - 1))) {
      RETURN_IF_ERROR(SweepBelow(client, folder + name, manifests));
    }
  }
  if (objects.empty()) return absl::OkStatus();
  // Another server may have made this folder since the manifests were listed. It writes objects behind the manifest: so
  // where these objects were listed, and there is no manifest now, there is none any more.
  const absl::Status gone = client.Get(Folders::KeyOf(folder.substr(0, folder.size() - 1))).status();
  if (!absl::IsNotFound(gone)) return gone;
  for (const std::string& object : objects) RETURN_IF_ERROR(client.Delete(begin + object));
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckConditions(const S3Client& client) {
  const std::string key = absl::StrCat("probe/", NewRevision());
  const auto refused = [&](const S3Client::Condition& condition) {
    return IsRefused(client.Put(key, "probe", condition).status());
  };
  // Nothing is there, so nothing matches: some services write all the same.
  ASSIGN_OR_RETURN(const bool absent, refused({.if_match = kOtherEtag}));
  const absl::StatusOr<std::string> first = client.Put(key, "first", {.if_absent = true});
  RETURN_IF_ERROR(IsRefused(first.status()).status());
  ASSIGN_OR_RETURN(const bool present, refused({.if_absent = true}));
  ASSIGN_OR_RETURN(const bool other, refused({.if_match = kOtherEtag}));
  ASSIGN_OR_RETURN(const bool same, refused({.if_match = first.value_or(kOtherEtag)}));
  RETURN_IF_ERROR(client.Delete(key));
  if (absent && first.ok() && present && other && !same) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "store: ", client.NameOf(""), ": the service does not keep If-Match and If-None-Match of a write, by ",
      "which a server that lost a video is kept from writing it"));
}

absl::StatusOr<uint64_t> TakeEpoch(const S3Client& client, Sharing sharing) {
  std::string written;
  while (true) {
    absl::StatusOr<S3Client::Object> object = client.Get(kOwner);
    Ownership now;
    S3Client::Condition condition{.if_absent = true};
    if (object.ok()) {
      absl::StatusOr<Ownership> read = ParseOwnership(object->bytes);
      if (!read.ok()) {
        return absl::UnavailableError(absl::StrCat("store: ", client.NameOf(kOwner), ": ", read.status().message()));
      }
      now = *std::move(read);
      condition = {.if_match = object->etag};
    } else if (!absl::IsNotFound(object.status())) {
      return object.status();
    }
    if (object.ok() && now.revision == written) return now.epoch;  // the answer to the last try was lost
    const bool shared = sharing == Sharing::kShared;
    if (object.ok() && shared && now.shared) return now.epoch;
    const Ownership next{.epoch = now.epoch + 1, .shared = shared, .revision = NewRevision()};
    const absl::Status put = client.Put(kOwner, ToText(next), condition).status();
    if (put.ok()) return next.epoch;
    if (!absl::IsFailedPrecondition(put)) return put;
    written = next.revision;
  }
}

absl::Status SweepObjects(const S3Client& client) {
  ASSIGN_OR_RETURN(const std::vector<std::string> manifests, client.List(Folders::KeyOf(""), /*deep=*/true));
  return SweepBelow(client, "", manifests);
}

absl::Status RemoveObjects(const S3Client& client, const std::string& begin) {
  ASSIGN_OR_RETURN(const std::vector<std::string> objects, client.List(begin, /*deep=*/true));
  for (const std::string& object : objects) RETURN_IF_ERROR(client.Delete(begin + object));
  return absl::OkStatus();
}

}  // namespace longtake::server
