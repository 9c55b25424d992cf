// Errors of the service: an absl::Status with a reason that programs can tell apart, and what the reason is about. The
// front turns them into google.rpc details.
#ifndef LONGTAKE_SERVER_VIDEO_ERROR_H_
#define LONGTAKE_SERVER_VIDEO_ERROR_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace longtake::server {

// Those of longtake.v1.ErrorReason, which documents them, by the same numbers.
enum class Reason {
  kInvalidRequest = 1,
  kModelLoading,
  kShuttingDown,
  kQueueFull,
  kWaitTooLong,
  kDeadlineTooShort,
  kWaitedTooLong,
  kNotRead,
  kVideoNotFound,
  kModelNotFound,
  kVideoCancelled,
  kVideoEnded,
  kNoBlockLeft,
  kTooManyPrompts,
  kRequestIdReused,
  kBlockNotKept,
  kDeviceFailed,
  kEncoderFailed,
  kInternal = 20,
  kViewerNotFound,
  kStoreFailed,
  kBlockNotMade,
  kOtherModel,
  kUnauthenticated,
  kQuotaExceeded,
  kLinkExpired,
  kLinksUnavailable,
  kPolicyRefused,
  kPolicyUnavailable,
  kOtherServer,
};

// "QUEUE_FULL"; of every reason.
const char* NameOf(Reason reason);
// "queue_full": as metrics have it.
std::string LabelOf(Reason reason);

struct FieldError {
  std::string field;  // path in the request, as in "spec.size"
  std::string description;
};

struct ErrorDetails {
  Reason reason = Reason::kInternal;
  std::optional<absl::Duration> retry_delay;    // when to try again
  std::vector<FieldError> fields;               // of kInvalidRequest: every field at fault
  std::map<std::string, std::string> metadata;  // by ErrorReason's documentation
  std::string resource;                         // "videos/..." or "models/...": what it is about
};

absl::Status MakeError(absl::StatusCode code, const std::string& message, const ErrorDetails& details);

// InvalidArgument; the message names every field too, for clients that do not read details.
absl::Status InvalidRequest(std::vector<FieldError> fields);

// STORE_FAILED; one that is not found is lost. The message is the store's.
absl::Status StoreError(const absl::Status& why);

// `resource`: "videos/..." or "models/...".
absl::Status NotFound(Reason reason, const std::string& resource);

// The details of an error. One that was not made by MakeError is the device's own: kDeviceFailed.
ErrorDetails DetailsOf(const absl::Status& status);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_ERROR_H_
