#include "server/client/connect.h"

#include <grpcpp/grpcpp.h>

namespace longtake::client {

std::shared_ptr<grpc::Channel> Connect(const std::string& server, bool own) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);  // a server may have been told to send larger parts
  if (own) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace longtake::client
