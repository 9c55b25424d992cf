// A connection to a server.
#ifndef LONGTAKE_SERVER_CLIENT_CONNECT_H_
#define LONGTAKE_SERVER_CLIENT_CONNECT_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace longtake::client {

// `own`: not shared with other channels of this program to the same address.
std::shared_ptr<grpc::Channel> Connect(const std::string& server, bool own = false);

}  // namespace longtake::client

#endif  // LONGTAKE_SERVER_CLIENT_CONNECT_H_
