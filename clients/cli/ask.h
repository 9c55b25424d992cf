// A call with one answer, which comes soon or not at all.
#ifndef LONGTAKE_CLIENTS_CLI_ASK_H_
#define LONGTAKE_CLIENTS_CLI_ASK_H_

#include <grpcpp/grpcpp.h>

#include <chrono>

namespace longtake::client {

// Calls the stub's method and waits for the answer: so long at most, then the status is DEADLINE_EXCEEDED.
template <typename Stub, typename Request, typename Response>
grpc::Status Ask(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                 const Request& request, Response& response, std::chrono::seconds limit = std::chrono::seconds(10)) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + limit);
  return (stub.*method)(&context, request, &response);
}

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_ASK_H_
