#include "clients/cli/connect.h"

#include <grpcpp/grpcpp.h>

#include "absl/strings/match.h"

namespace longtake::client {

bool IsLoopback(const std::string& server) {
  for (const char* host : {"127.", "localhost:", "[::1]", "unix:"}) {
    if (absl::StartsWith(server, host)) return true;
  }
  return server == "localhost";
}

std::shared_ptr<grpc::Channel> Connect(const std::string& server, bool own) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);  // a server may have been told to send larger parts
  if (own) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // gRPC asks the proxy of http_proxy for every address, and such a proxy cannot reach this machine.
  if (IsLoopback(server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace longtake::client
