// A connection to a server.
#ifndef LONGTAKE_CLIENTS_CLI_CONNECT_H_
#define LONGTAKE_CLIENTS_CLI_CONNECT_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace longtake::client {

// Whether the address is of this machine by its spelling: 127.0.0.0/8, localhost, [::1], a Unix socket.
bool IsLoopback(const std::string& server);

// To a loopback address without a proxy, whatever http_proxy says. `own`: not shared with other channels of this
// program to the same address.
std::shared_ptr<grpc::Channel> Connect(const std::string& server, bool own = false);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_CONNECT_H_
