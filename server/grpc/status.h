// Errors as clients get them: a grpc::Status with google.rpc details.
#ifndef LONGTAKE_SERVER_GRPC_STATUS_H_
#define LONGTAKE_SERVER_GRPC_STATUS_H_

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace longtake::server {

// The same code and message with ErrorInfo and what else applies; OK for OK.
google::rpc::Status ToRpc(const absl::Status& status);

// The same for a call, whose record gets the code. Where the error says when to try again,
// the trailer that gRPC's own retries obey is added to `context`, which must not have finished.
grpc::Status ToGrpc(const absl::Status& status, grpc::CallbackServerContext* context);

// What another server has answered for the call, which is its answer as it is: the record gets the code.
grpc::Status PassedOn(const grpc::Status& status, grpc::CallbackServerContext* context);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_STATUS_H_
