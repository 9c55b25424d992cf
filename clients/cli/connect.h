// A connection to a server.
#ifndef LONGTAKE_CLIENTS_CLI_CONNECT_H_
#define LONGTAKE_CLIENTS_CLI_CONNECT_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace longtake::client {

// Where the server is, and what is shown to it.
struct Target {
  std::string address = "127.0.0.1:50051";
  std::string token;             // empty: none
  std::string authorities;       // PEM, that the server's certificate must be of; empty: plain text
  std::string certificate, key;  // PEM, the client's own; empty: none
};

// As the user says it: files in place of what is in them.
struct ServerFlags {
  std::string address = Target().address;
  std::string token_file, ca, cert, key;
  std::string token;  // of the environment; a token file comes before it
};

// Reads the files. An error names the flag: a file that cannot be read, a certificate without its key or without --ca,
// or a token that would go out in plain text to another machine.
absl::StatusOr<Target> ReadTarget(const ServerFlags& flags);

// Whether the address is of this machine by its spelling: 127.0.0.0/8, localhost, [::1], a Unix socket.
bool IsLoopback(const std::string& server);

// To a loopback address without a proxy, whatever http_proxy says. `own`: not shared with other channels of this
// program to the same address. The token goes with every call.
std::shared_ptr<grpc::Channel> Connect(const Target& target, bool own = false);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_CONNECT_H_
