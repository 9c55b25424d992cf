#include "clients/cli/connect.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/client_interceptor.h>
#include <netinet/in.h>

#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace longtake::client {
namespace {

absl::StatusOr<std::string> Read(const char* flag, const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file || text.empty()) return absl::NotFoundError(absl::StrCat(flag, ": cannot read ", path, ", or it is empty"));
  return text;
}

// Adds the token to each call. gRPC's own call credentials do not go with plain text, which is allowed to this machine.
class TokenInterceptor : public grpc::experimental::Interceptor {
 public:
  explicit TokenInterceptor(std::string header) : header_(std::move(header)) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", header_);
    }
    methods->Proceed();
  }

 private:
  const std::string header_;
};

class TokenFactory : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenFactory(const std::string& token) : header_(absl::StrCat("Bearer ", token)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo*) override {
    return new TokenInterceptor(header_);
  }

 private:
  const std::string header_;
};

}  // namespace

absl::StatusOr<Target> ReadTarget(const ServerFlags& flags) {
  Target target{.address = flags.address};
  ASSIGN_OR_RETURN(std::string token, Read("--token-file", flags.token_file));
  target.token = std::string(absl::StripAsciiWhitespace(flags.token_file.empty() ? flags.token : token));
  for (const char c : target.token) {  // a header's value; gRPC would end the process
    if (!absl::ascii_isgraph(c)) return absl::InvalidArgumentError("the token has blanks or control characters");
  }
  ASSIGN_OR_RETURN(target.authorities, Read("--ca", flags.ca));
  ASSIGN_OR_RETURN(target.certificate, Read("--cert", flags.cert));
  ASSIGN_OR_RETURN(target.key, Read("--key", flags.key));
  if (target.certificate.empty() != target.key.empty()) {
    return absl::InvalidArgumentError("--cert and --key: one is missing");
  }
  if (!target.certificate.empty() && target.authorities.empty()) {
    return absl::InvalidArgumentError("--cert: needs --ca, which encrypts the connection");
  }
  if (!target.token.empty() && target.authorities.empty() && !IsLoopback(target.address)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the token is not sent to ", target.address, " in plain text: --ca encrypts the connection"));
  }
  return target;
}

bool IsLoopback(const std::string& server) {
  if (absl::StartsWith(server, "unix:") || absl::StartsWith(server, "unix-abstract:")) return true;
  if (absl::StartsWith(server, "[::1]")) return server.size() == 5 || server[5] == ':';
  const std::string host = server.substr(0, server.find(':'));
  in_addr address = {};
  // Not by how it begins: 127.example.com is another machine.
  if (inet_pton(AF_INET, host.c_str(), &address) == 1) return ntohl(address.s_addr) >> 24 == 127;
  return host == "localhost";
}

std::shared_ptr<grpc::Channel> Connect(const Target& target, bool own) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);  // a server may have been told to send larger parts
  if (own) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // gRPC asks the proxy of http_proxy for every address, and such a proxy cannot reach this machine.
  if (IsLoopback(target.address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const std::shared_ptr<grpc::ChannelCredentials> credentials =
      target.authorities.empty() ? grpc::InsecureChannelCredentials()
                                 : grpc::SslCredentials({.pem_root_certs = target.authorities,
                                                         .pem_private_key = target.key,
                                                         .pem_cert_chain = target.certificate});
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  if (!target.token.empty()) interceptors.push_back(std::make_unique<TokenFactory>(target.token));
  return grpc::experimental::CreateCustomChannelWithInterceptors(target.address, credentials, arguments,
                                                                 std::move(interceptors));
}

}  // namespace longtake::client
