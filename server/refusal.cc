#include "server/refusal.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace longtake::server {
namespace {

grpc::Status WithDetails(grpc::StatusCode code, const std::string& message,
                         const std::vector<const google::protobuf::Message*>& details) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  for (const google::protobuf::Message* detail : details) status.add_details()->PackFrom(*detail);
  return grpc::Status(code, message, status.SerializeAsString());
}

google::rpc::RetryInfo RetryAfter(absl::Duration delay) {
  google::rpc::RetryInfo info;
  const int64_t milliseconds = std::max<int64_t>(1, absl::ToInt64Milliseconds(delay));
  info.mutable_retry_delay()->set_seconds(milliseconds / 1000);
  info.mutable_retry_delay()->set_nanos(static_cast<int>(milliseconds % 1000) * 1'000'000);
  return info;
}

}  // namespace

grpc::Status InvalidRequest(const std::vector<FieldError>& errors) {
  google::rpc::BadRequest details;
  for (const FieldError& error : errors) {
    auto* violation = details.add_field_violations();
    violation->set_field(error.field);
    violation->set_description(error.description);
  }
  const std::string message = absl::StrJoin(errors, "; ", [](std::string* out, const FieldError& error) {
    absl::StrAppend(out, error.field, ": ", error.description);
  });
  return WithDetails(grpc::StatusCode::INVALID_ARGUMENT, message, {&details});
}

grpc::Status NoPlace(const std::string& message, const v1::Refusal& refusal) {
  google::rpc::QuotaFailure quota;
  auto* violation = quota.add_violations();
  violation->set_subject(refusal.reason() == v1::Refusal::REASON_QUEUE_FULL ? "queue" : "wait");
  violation->set_description(message);
  const google::rpc::RetryInfo retry = RetryAfter(absl::Seconds(refusal.quote().retry_after_seconds()));
  return WithDetails(grpc::StatusCode::RESOURCE_EXHAUSTED, message, {&quota, &retry, &refusal});
}

grpc::Status NotNow(const std::string& message, absl::Duration retry_after) {
  const google::rpc::RetryInfo retry = RetryAfter(retry_after);
  return WithDetails(grpc::StatusCode::UNAVAILABLE, message, {&retry});
}

grpc::Status ToGrpc(const absl::Status& status) {
  // absl's codes are gRPC's.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace longtake::server
