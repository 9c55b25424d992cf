// A refused call in words.
#ifndef LONGTAKE_CLIENTS_CLI_ERROR_TEXT_H_
#define LONGTAKE_CLIENTS_CLI_ERROR_TEXT_H_

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

namespace longtake::client {

// One line for the status, then one for each field at fault, for the queue, and for the time to try again.
std::string ErrorText(const grpc::Status& status);

// Seconds after which to try again, where the status says so: RetryInfo among its details.
std::optional<double> RetryAfter(const grpc::Status& status);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_ERROR_TEXT_H_
