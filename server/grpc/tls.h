// TLS for gRPC's connections.
#ifndef LONGTAKE_SERVER_GRPC_TLS_H_
#define LONGTAKE_SERVER_GRPC_TLS_H_

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "absl/status/statusor.h"
#include "server/grpc/front_options.h"

namespace longtake::server {

// What is wrong with the files: InvalidArgument names the option and the file. OK where no option names one.
absl::Status CheckTls(const TlsOptions& options);

// The same of what servers that share a store need to call each other, with the TLS of this one's port.
absl::Status CheckPeers(const PeerOptions& peers, const TlsOptions& own);

// With which other servers are called. Where they have a name they are shown this one's certificate. Its files are read
// again when they change. The error is CheckPeers'.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakePeerCredentials(const PeerOptions& peers,
                                                                              const TlsOptions& own);

// Of files that are read again when they change. While a certificate and a key do not match, new connections fail and
// those that there are go on: gRPC keeps no pair from before. The error is CheckTls'; gRPC itself
// would start and fail every connection.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsOptions& options);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_GRPC_TLS_H_
