#include "clients/cli/error_text.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace longtake::client {
namespace {

double SecondsOf(const google::rpc::RetryInfo& retry) {
  return static_cast<double>(retry.retry_delay().seconds()) + retry.retry_delay().nanos() * 1e-9;
}

}  // namespace

std::optional<double> RetryAfter(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::RetryInfo retry;
  if (!details.ParseFromString(status.error_details())) return std::nullopt;
  for (const google::protobuf::Any& any : details.details()) {
    if (any.UnpackTo(&retry)) return SecondsOf(retry);
  }
  return std::nullopt;
}

std::string ErrorText(const grpc::Status& status) {
  // absl's codes are gRPC's.
  const std::string code = absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
  google::rpc::Status details;
  google::rpc::BadRequest bad;
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  std::string fields, more;
  if (details.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& any : details.details()) {
      if (any.UnpackTo(&bad)) {
        for (const auto& violation : bad.field_violations()) {
          absl::StrAppend(&fields, "\n  ", violation.field(), ": ", violation.description());
        }
      } else if (any.UnpackTo(&info)) {
        if (const auto queue = info.metadata().find("queue_length"); queue != info.metadata().end()) {
          absl::StrAppend(&more, "\n  such requests waiting: ", queue->second);
        }
      } else if (any.UnpackTo(&retry)) {
        absl::StrAppend(&more, absl::StrFormat("\n  try again in %.1f s", SecondsOf(retry)));
      }
    }
  }
  // The message of a bad request repeats its fields for clients without details; this is not one.
  return absl::StrCat(code, ": ", fields.empty() ? status.error_message() : "the request has errors", fields, more);
}

}  // namespace longtake::client
