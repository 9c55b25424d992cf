// Addresses to listen on, as options name them.
#ifndef LONGTAKE_SERVER_LISTEN_ADDRESS_H_
#define LONGTAKE_SERVER_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"

namespace longtake::server {

// "host:port", "[host]:port"; false: it is neither.
bool SplitAddress(const std::string& address, std::string& host, std::string& port);

// The error of an address that is none of "host:port", "[v6 address]:port" and "unix:path".
absl::Status NoAddress();

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_LISTEN_ADDRESS_H_
