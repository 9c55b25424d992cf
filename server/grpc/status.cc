#include "server/grpc/status.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/grpc/call_context.h"
#include "server/video/error.h"

namespace longtake::server {
namespace {

constexpr char kDomain[] = "longtake";

int64_t Milliseconds(absl::Duration retry_delay) {
  return std::max<int64_t>(1, absl::ToInt64Milliseconds(retry_delay));
}

void Note(absl::StatusCode code, grpc::CallbackServerContext* context) {
  CallRecord* const record = RecordOf(context);
  if (record == nullptr) return;
  record->code = absl::StatusCodeToString(code);
  record->failed =
      code == absl::StatusCode::kInternal || code == absl::StatusCode::kUnknown || code == absl::StatusCode::kDataLoss;
}

}  // namespace

google::rpc::Status ToRpc(const absl::Status& status) {
  google::rpc::Status out;
  if (status.ok()) return out;
  const ErrorDetails details = DetailsOf(status);
  // absl's codes are gRPC's.
  out.set_code(static_cast<int>(status.code()));
  out.set_message(std::string(status.message()));

  google::rpc::ErrorInfo info;
  info.set_reason(NameOf(details.reason));
  info.set_domain(kDomain);
  info.mutable_metadata()->insert(details.metadata.begin(), details.metadata.end());
  out.add_details()->PackFrom(info);
  if (!details.fields.empty()) {
    google::rpc::BadRequest bad;
    for (const FieldError& error : details.fields) {
      auto* violation = bad.add_field_violations();
      violation->set_field(error.field);
      violation->set_description(error.description);
    }
    out.add_details()->PackFrom(bad);
  }
  if (details.reason == Reason::kTooManyPrompts || details.reason == Reason::kQuotaExceeded) {
    google::rpc::QuotaFailure quota;
    auto* violation = quota.add_violations();
    violation->set_subject(details.resource);
    violation->set_description(out.message());
    out.add_details()->PackFrom(quota);
  }
  if (status.code() == absl::StatusCode::kNotFound || details.reason == Reason::kOtherServer) {
    google::rpc::ResourceInfo resource;
    resource.set_resource_type(absl::StartsWith(details.resource, "models/") ? "longtake/Model" : "longtake/Video");
    resource.set_resource_name(details.resource);
    resource.set_description(out.message());
    out.add_details()->PackFrom(resource);
  }
  if (details.retry_delay.has_value()) {
    const int64_t milliseconds = Milliseconds(*details.retry_delay);
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(milliseconds / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int>(milliseconds % 1000) * 1'000'000);
    out.add_details()->PackFrom(retry);
  }
  return out;
}

grpc::Status PassedOn(const grpc::Status& status, grpc::CallbackServerContext* context) {
  Note(static_cast<absl::StatusCode>(status.error_code()), context);
  return status;
}

grpc::Status ToGrpc(const absl::Status& status, grpc::CallbackServerContext* context) {
  Note(status.code(), context);
  if (status.ok()) return grpc::Status::OK;
  if (const auto delay = DetailsOf(status).retry_delay; delay.has_value()) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", absl::StrCat(Milliseconds(*delay)));
  }
  const google::rpc::Status out = ToRpc(status);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), out.message(), out.SerializeAsString());
}

}  // namespace longtake::server
