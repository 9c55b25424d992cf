// Statuses as clients get them, with google.rpc details.
#ifndef LONGTAKE_SERVER_REFUSAL_H_
#define LONGTAKE_SERVER_REFUSAL_H_

#include <grpcpp/support/status.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/request.h"

namespace longtake::server {

// INVALID_ARGUMENT with BadRequest; the message names every field too, for clients that do not read details.
grpc::Status InvalidRequest(const std::vector<FieldError>& errors);

// RESOURCE_EXHAUSTED with QuotaFailure, RetryInfo and Refusal.
grpc::Status NoPlace(const std::string& message, const v1::Refusal& refusal);

// UNAVAILABLE with RetryInfo.
grpc::Status NotNow(const std::string& message, absl::Duration retry_after);

// The same code and message, without details.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_REFUSAL_H_
