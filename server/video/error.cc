#include "server/video/error.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace longtake::server {
namespace {

// absl::Status carries bytes beside its code and message, by the name of their type. Ours are JSON.
constexpr char kPayload[] = "longtake/details";

// Text from a client may hold bytes that are no UTF-8.
std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

const char* NameOf(Reason reason) {
  switch (reason) {
    case Reason::kInvalidRequest:
      return "INVALID_REQUEST";
    case Reason::kModelLoading:
      return "MODEL_LOADING";
    case Reason::kShuttingDown:
      return "SHUTTING_DOWN";
    case Reason::kQueueFull:
      return "QUEUE_FULL";
    case Reason::kWaitTooLong:
      return "WAIT_TOO_LONG";
    case Reason::kDeadlineTooShort:
      return "DEADLINE_TOO_SHORT";
    case Reason::kWaitedTooLong:
      return "WAITED_TOO_LONG";
    case Reason::kNotRead:
      return "NOT_READ";
    case Reason::kVideoNotFound:
      return "VIDEO_NOT_FOUND";
    case Reason::kModelNotFound:
      return "MODEL_NOT_FOUND";
    case Reason::kVideoCancelled:
      return "VIDEO_CANCELLED";
    case Reason::kVideoEnded:
      return "VIDEO_ENDED";
    case Reason::kNoBlockLeft:
      return "NO_BLOCK_LEFT";
    case Reason::kTooManyPrompts:
      return "TOO_MANY_PROMPTS";
    case Reason::kRequestIdReused:
      return "REQUEST_ID_REUSED";
    case Reason::kBlockNotKept:
      return "BLOCK_NOT_KEPT";
    case Reason::kDeviceFailed:
      return "DEVICE_FAILED";
    case Reason::kEncoderFailed:
      return "ENCODER_FAILED";
    case Reason::kInternal:
      return "INTERNAL";
    case Reason::kViewerNotFound:
      return "VIEWER_NOT_FOUND";
    case Reason::kOtherModel:
      return "OTHER_MODEL";
    case Reason::kBlockNotMade:
      return "BLOCK_NOT_MADE";
    case Reason::kStoreFailed:
      return "STORE_FAILED";
    case Reason::kUnauthenticated:
      return "UNAUTHENTICATED";
    case Reason::kQuotaExceeded:
      return "QUOTA_EXCEEDED";
    case Reason::kLinkExpired:
      return "LINK_EXPIRED";
    case Reason::kLinksUnavailable:
      return "LINKS_UNAVAILABLE";
    case Reason::kPolicyRefused:
      return "POLICY_REFUSED";
    case Reason::kPolicyUnavailable:
      return "POLICY_UNAVAILABLE";
    case Reason::kOtherServer:
      return "OTHER_SERVER";
  }
  return "INTERNAL";
}

std::string LabelOf(Reason reason) { return absl::AsciiStrToLower(NameOf(reason)); }

absl::Status MakeError(absl::StatusCode code, const std::string& message, const ErrorDetails& details) {
  nlohmann::json fields = nlohmann::json::array();
  for (const FieldError& error : details.fields) fields.push_back({error.field, error.description});
  nlohmann::json payload = {{"reason", static_cast<int>(details.reason)},
                            {"fields", std::move(fields)},
                            {"metadata", details.metadata},
                            {"resource", details.resource}};
  if (details.retry_delay.has_value()) payload["retry_ns"] = absl::ToInt64Nanoseconds(*details.retry_delay);
  absl::Status status(code, message);
  status.SetPayload(kPayload, absl::Cord(Dump(payload)));
  return status;
}

absl::Status InvalidRequest(std::vector<FieldError> fields) {
  const std::string message = absl::StrJoin(fields, "; ", [](std::string* out, const FieldError& error) {
    absl::StrAppend(out, error.field, ": ", error.description);
  });
  return MakeError(absl::StatusCode::kInvalidArgument, message,
                   {.reason = Reason::kInvalidRequest, .fields = std::move(fields)});
}

absl::Status StoreError(const absl::Status& why) {
  return MakeError(absl::IsNotFound(why) ? absl::StatusCode::kDataLoss : why.code(), std::string(why.message()),
                   {.reason = Reason::kStoreFailed});
}

absl::Status NotFound(Reason reason, const std::string& resource) {
  return MakeError(absl::StatusCode::kNotFound, absl::StrCat("there is no ", resource),
                   {.reason = reason, .resource = resource});
}

ErrorDetails DetailsOf(const absl::Status& status) {
  const absl::optional<absl::Cord> bytes = status.GetPayload(kPayload);
  if (!bytes.has_value()) return {.reason = Reason::kDeviceFailed};
  const nlohmann::json payload = nlohmann::json::parse(std::string(*bytes));
  ErrorDetails details;
  details.reason = static_cast<Reason>(payload["reason"].get<int>());
  for (const auto& field : payload["fields"]) details.fields.push_back({field[0], field[1]});
  details.metadata = payload["metadata"];
  details.resource = payload["resource"];
  if (payload.contains("retry_ns")) details.retry_delay = absl::Nanoseconds(payload["retry_ns"].get<int64_t>());
  return details;
}

}  // namespace longtake::server
